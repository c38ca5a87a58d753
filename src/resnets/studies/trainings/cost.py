"""What a training costs: its floating-point operations, and how long this machine needs for them.

The time is that of a network with two blocks a stage, of the same kind and on images of the same size, for each operation: blocks
with gates or dropout take longer than others with as many operations.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from resnets.inference.device import resolve_device
from resnets.message_format import format_duration
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.recipes.recipe import Speed
from resnets.studies.study import Study
from resnets.studies.trainings.training import Training
from resnets.tasks.classification.task import TASK
from resnets.training import precision
from resnets.training.optimization import fast_convolutions
from resnets.training.setup import build_network

_TIMED_BLOCKS, _TIMED_STEPS = 2, 3
# Of the timed batch. A small batch of small images would measure what each layer takes to start.
_TIMED_PIXELS, _LARGEST_BATCH = 48 * 32 * 32, 128
_TRAIN_IMAGES, _TEST_IMAGES = 50_000, 10_000  # of CIFAR-10
_FORWARD, _STEP = 2, 6  # operations for each multiply-add; a backward pass is twice a forward pass


@dataclass(frozen=True)
class Rates:
    """Operations in a second: of the steps of a training, and of an evaluation in fp32."""

    training: float
    evaluation: float


def flops(training: Training, steps: int) -> float:
    """The floating-point operations of so many steps of a training."""
    spec, imgsz = _spec_and_imgsz(training)
    return float(_STEP * multiply_adds(spec, imgsz) * (training.recipe.data.batch or 1) * steps)


def step_seconds(training: Training) -> float:
    """The time of one step on this machine."""
    return flops(training, 1) / _rates_of(training).training


def seconds(training: Training, steps: int) -> float:
    """The time of so many steps on this machine, of the evaluation after each epoch of CIFAR-10, and of that at the end."""
    epochs = steps * (training.recipe.data.batch or 1) / _TRAIN_IMAGES
    evaluated = _TEST_IMAGES * epochs + (2 * _TEST_IMAGES if steps else 0)  # at the end as many training images, too
    evaluation = _FORWARD * multiply_adds(*_spec_and_imgsz(training)) * evaluated
    return step_seconds(training) * steps + evaluation / _rates_of(training).evaluation


def _rates_of(training: Training) -> Rates:
    spec, imgsz = _spec_and_imgsz(training)
    return rates(_with_blocks(spec, _TIMED_BLOCKS), imgsz)


def _spec_and_imgsz(training: Training) -> tuple[ResNetSpec, int]:
    spec = build_network.requested_spec(training.recipe, TASK, None)
    return spec, training.recipe.data.imgsz or spec.imgsz


def _with_blocks(spec: ResNetSpec, count: int) -> ResNetSpec:
    return replace(spec, name="", num_blocks=(count,) * len(spec.num_blocks))


def multiply_adds(spec: ResNetSpec, imgsz: int) -> int:
    """Those of one image, from networks of one and of two blocks a stage: all blocks of a stage after its first are alike.

    A network of a thousand layers takes seconds to build.
    """
    (blocks,) = set(spec.num_blocks)  # all stages of a network for CIFAR-10 have as many
    one, two = (_counted(_with_blocks(spec, count), imgsz) for count in (1, 2))
    return one + (blocks - 1) * (two - one)


@cache
@torch.inference_mode()
def _counted(spec: ResNetSpec, imgsz: int) -> int:
    """Those of the convolutions and the dense layers; torch's counter gives the same number and takes ten times as long."""
    counts: list[int] = []

    def count(layer: nn.Conv2d | nn.Linear, _: object, output: torch.Tensor) -> None:
        counts.append(output[0].numel() * layer.weight[0].numel())

    net = build(spec).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    net(torch.zeros(1, 3, imgsz, imgsz))
    return sum(counts)


@cache
def rates(spec: ResNetSpec, imgsz: int) -> Rates:
    """Those of a network on the device and with the precision that a training chooses."""
    device = resolve_device("auto")
    speed = Speed(device=device, precision=str(precision.select_precision("auto", device).value))
    batch = max(1, min(_TIMED_PIXELS // imgsz**2, _LARGEST_BATCH))
    net: ResNet = build(spec).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(batch, 3, imgsz, imgsz, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)

    def evaluate() -> None:
        with torch.inference_mode():
            net(images).sum().item()  # waits for a GPU

    def step() -> None:
        with precision.autocast(speed.precision, device):
            loss = cross_entropy(net(images), labels)
        loss.backward()
        loss.item()

    forward = _shortest(evaluate)
    if fast_convolutions.applies_to(speed):
        fast_convolutions.replace_convolutions(net)
    net.train()
    operations = multiply_adds(spec, imgsz) * batch
    return Rates(_STEP * operations / _shortest(step), _FORWARD * operations / forward)


def _shortest(run: Callable[[], None]) -> float:
    found = []
    for _ in range(_TIMED_STEPS):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def describe(steps: Iterable[tuple[Training, int]]) -> str:
    """The cost of so many steps of each training, such as "2.3 PFLOP, about 7 h 5 min on this machine"; of none, "nothing"."""
    steps = list(steps)
    total = sum(flops(*each) for each in steps)
    if not total:
        return "nothing"
    return f"{total / 1e15:.2g} PFLOP, about {format_duration(sum(seconds(*each) for each in steps))} on this machine"


def by_protocol(study: Study) -> dict[str, str]:
    """The cost of each protocol in words, with the number of seeds that the study has by default."""
    if study.runs is None:
        return dict(study.cost)
    costs = {}
    for protocol, numbers in study.protocols.items():
        trainings = study.runs(numbers, range(study.seeds))
        costs[protocol] = describe((each, each.recipe.stop.steps or 0) for each in trainings)
    return costs
