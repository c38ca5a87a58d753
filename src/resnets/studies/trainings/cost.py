"""What a training costs: its floating-point operations, and how many of them this machine computes in a second of training."""

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from resnets.inference.device import resolve_device
from resnets.message_format import format_duration
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.recipes.recipe import Speed
from resnets.studies.study import Study
from resnets.studies.trainings.training import Training
from resnets.tasks.classification.task import TASK
from resnets.training import precision
from resnets.training.optimization import fast_convolutions
from resnets.training.setup import build_network

TIMED_NETWORK = "cifar_resnet20"
_TIMED_STEPS, _TIMED_BATCH = 4, 128
_PER_MULTIPLY_ADD = 6  # two operations, and a backward pass is twice a forward pass


def flops(training: Training, steps: int) -> float:
    """The floating-point operations of so many steps of a training."""
    recipe = training.recipe
    spec = build_network.requested_spec(recipe, TASK, None)
    per_image = _PER_MULTIPLY_ADD * _multiply_adds(spec, recipe.data.imgsz or spec.imgsz)
    return float(per_image * (recipe.data.batch or 1) * steps)


def _multiply_adds(spec: ResNetSpec, imgsz: int) -> int:
    """Those of one image, from networks of one and of two blocks a stage: all blocks of a stage after its first are alike.

    A network of a thousand layers takes seconds to build.
    """
    (blocks,) = set(spec.num_blocks)  # all stages of a network for CIFAR-10 have as many
    one, two = (_counted(replace(spec, name="", num_blocks=(n,) * len(spec.num_blocks)), imgsz) for n in (1, 2))
    return one + (blocks - 1) * (two - one)


@cache
def _counted(spec: ResNetSpec, imgsz: int) -> int:
    # It counts two operations a multiply-add. `layer_table` gives the same number and takes five times as long.
    counter = FlopCounterMode(display=False)
    with torch.inference_mode():
        net = build(spec).eval()
        with counter:
            net(torch.zeros(1, 3, imgsz, imgsz))
    return counter.get_total_flops() // 2


@cache
def flops_per_second() -> float:
    """Those of a training of ResNet-20 on 32x32 pixels, on the device and with the precision that a training chooses."""
    device = resolve_device("auto")
    speed = Speed(device=device, precision=str(precision.select_precision("auto", device).value))
    net = zoo.build(TIMED_NETWORK).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if fast_convolutions.applies_to(speed):
        fast_convolutions.replace_convolutions(net)
    images = torch.zeros(_TIMED_BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(_TIMED_BATCH, dtype=torch.long, device=device)
    seconds = []
    for _ in range(_TIMED_STEPS):
        start = time.perf_counter()
        with precision.autocast(speed.precision, device):
            loss = cross_entropy(net(images), labels)
        loss.backward()
        loss.item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return _PER_MULTIPLY_ADD * zoo.entries()[TIMED_NETWORK].multiply_adds * _TIMED_BATCH / min(seconds)


def describe(steps: Iterable[tuple[Training, int]]) -> str:
    """The cost of so many steps of each training, such as "2.3 PFLOP, about 7 h 5 min on this machine"; of none, "nothing"."""
    total = sum(flops(*each) for each in steps)
    if not total:
        return "nothing"
    return f"{total / 1e15:.2g} PFLOP, about {format_duration(total / flops_per_second())} on this machine"


def by_protocol(study: Study) -> dict[str, str]:
    """The cost of each protocol in words, with the number of seeds that the study has by default."""
    if study.runs is None:
        return dict(study.cost)
    costs = {}
    for protocol, numbers in study.protocols.items():
        trainings = study.runs(numbers, range(study.seeds))
        costs[protocol] = describe((each, each.recipe.stop.steps or 0) for each in trainings)
    return costs
