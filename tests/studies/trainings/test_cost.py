"""The cost of trainings: operations counted, and a rate that is measured."""

from __future__ import annotations

import pytest
import torch
from tests.studies import known_trainings
from torch.utils.flop_counter import FlopCounterMode

from resnets.models import zoo
from resnets.studies.comparisons import degradation
from resnets.studies.trainings import cost


def test_the_operations_of_a_step_are_those_that_torch_counts() -> None:
    training, *_ = degradation.runs(known_trainings.TINY, [0])
    net = zoo.build("cifar_plain20")
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(8, 3, 8, 8)).sum().backward()
    # The images have no gradient, which the stem need not compute.
    stem = 2 * 8 * 8 * 8 * 27 * 16
    assert cost.flops(training, 1) == counter.get_total_flops() + stem


@pytest.mark.parametrize("name", ["cifar_resnet1202", "cifar_preresnet1001", "cifar_highway32"])
def test_the_operations_of_deep_networks_are_those_of_the_zoo(name: str) -> None:
    entry = zoo.entries()[name]
    assert cost._multiply_adds(entry.spec, entry.imgsz) == entry.multiply_adds


def test_the_rate_is_measured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_TIMED_BATCH", 2)
    monkeypatch.setattr(cost, "_TIMED_STEPS", 1)
    assert cost.flops_per_second.__wrapped__() > 0
    monkeypatch.setattr(cost, "flops_per_second", lambda: 1e11)
    steps = degradation.STUDY.protocols["short"]["steps"]
    trainings = [
        (each, steps) for each in degradation.runs(degradation.STUDY.protocols["short"], [0]) if not each.copy
    ][:4]
    # 3,000 steps of 128 images: 0.093 for 20 layers and 0.289 for 56, each twice, in PFLOP.
    assert cost.describe(trainings) == "0.77 PFLOP, about 2 h 8 min on this machine"
