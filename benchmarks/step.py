"""Where the time of a training step goes: the operations of torch, by their own time.

    python benchmarks/step.py [MODEL] [--batch 16] [--imgsz 224] [--steps 4]

The network, the layout and the precision are the defaults of `resnets train`; the images are noise.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from resnets.cli import process_settings
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers
from resnets.training.precision import autocast, select_precision

NUM_CLASSES = 10
ROWS = 10  # of the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--imgsz", type=int, default=224, metavar="PIXELS")
    parser.add_argument("--steps", type=int, default=4, help="as many are timed, and as many profiled")
    options = parser.parse_args()
    process_settings.keep_memory()
    precision = str(select_precision("auto", "cpu").value)
    net = build(zoo.get_spec(options.model, num_classes=NUM_CLASSES)).to(memory_format=torch.channels_last).train()
    optimizer = optimizers.build_optimizer(net, Optim(), lr=0.1, backbone_lr_factor=1.0)
    images = torch.randn(options.batch, 3, options.imgsz, options.imgsz).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(NUM_CLASSES, (options.batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(precision, "cpu"):
            logits = net(images)
        cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    step()
    start = time.perf_counter()
    for _ in range(options.steps):
        step()
    seconds = (time.perf_counter() - start) / options.steps
    print(
        f"{options.model}, {precision}, batch {options.batch}: {seconds:.3f} s a step, {options.batch / seconds:.1f} images/s"
    )
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(options.steps):
            step()
    rows = sorted(profiled.key_averages(), key=lambda row: row.self_cpu_time_total, reverse=True)
    total = sum(row.self_cpu_time_total for row in rows)
    for row in rows[:ROWS]:
        print(
            f"{row.self_cpu_time_total / total:6.1%}  {row.self_cpu_time_total / 1000 / options.steps:8.1f} ms  {row.key}"
        )


if __name__ == "__main__":
    main()
