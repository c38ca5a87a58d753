"""The time that a study states for its trainings, against the time of some of their steps.

    python benchmarks/study_cost.py [--studies degradation highway] [--protocol minutes]

Every network of each study makes a few steps at its batch and size of images; the table has the seconds of a step, as they are
estimated and as they are measured, and the sum over the networks.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn.functional import cross_entropy

from resnets.inference.device import resolve_device
from resnets.models.build_network import build
from resnets.recipes.recipe import Speed
from resnets.studies import registry
from resnets.studies.trainings import cost
from resnets.studies.trainings.training import Training
from resnets.tasks.classification.task import TASK
from resnets.training import precision
from resnets.training.optimization import fast_convolutions
from resnets.training.setup import build_network


def measured(training: Training, steps: int) -> float:
    """The least seconds of a step; the images are random."""
    recipe, device = training.recipe, resolve_device("auto")
    speed = Speed(device=device, precision=str(precision.select_precision("auto", device).value))
    net = build(build_network.requested_spec(recipe, TASK, None)).to(memory_format=torch.channels_last).train()
    net.to(device)
    if fast_convolutions.applies_to(speed):
        fast_convolutions.replace_convolutions(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    batch, imgsz = recipe.data.batch or 1, recipe.data.imgsz or 32
    images = torch.randn(batch, 3, imgsz, imgsz, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    found = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        with precision.autocast(speed.precision, device):
            loss = cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    of_trainings = [name for name, study in registry.STUDIES.items() if study.runs]
    parser.add_argument("--studies", nargs="+", default=of_trainings, choices=of_trainings)
    parser.add_argument("--protocol", default="minutes")
    parser.add_argument("--steps", type=int, default=5, help="that are timed, of each network")
    options = parser.parse_args()
    for name in options.studies:
        study = registry.STUDIES[name]
        sums = [0.0, 0.0]
        assert study.runs is not None
        for training in study.runs(study.protocols[options.protocol], [0]):
            steps = training.recipe.stop.steps or 0
            if steps == study.protocols[options.protocol]["steps"]:  # not the short trainings of a control
                times = cost.step_seconds(training), measured(training, options.steps)
                sums = [total + each for total, each in zip(sums, times, strict=True)]
                print(
                    f"{name:16} {training.network:26} estimated {times[0]:.3f} s, measured {times[1]:.3f} s", flush=True
                )
        print(
            f"{name:16} {'sum':26} estimated {sums[0]:.3f} s, measured {sums[1]:.3f} s, ratio {sums[0] / sums[1]:.2f}"
        )


if __name__ == "__main__":
    main()
