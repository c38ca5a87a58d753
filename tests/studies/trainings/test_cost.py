"""The cost of trainings: operations counted, and rates that are measured."""

from __future__ import annotations

import pytest
import torch
from tests.studies import known_trainings
from torch.utils.flop_counter import FlopCounterMode

from resnets.models import zoo
from resnets.studies import registry
from resnets.studies.comparisons import degradation
from resnets.studies.study import Study
from resnets.studies.trainings import cost
from resnets.studies.trainings.cost import Rates


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
    assert cost.multiply_adds(entry.spec, entry.imgsz) == entry.multiply_adds


@pytest.mark.parametrize(
    "study", [each for each in registry.STUDIES.values() if each.runs], ids=lambda study: study.name
)
def test_the_operations_of_every_network_of_a_study_are_those_that_torch_counts(study: Study) -> None:
    assert study.runs is not None
    specs = {
        cost._with_blocks(*(cost._spec_and_imgsz(each)[0], 1)) for each in study.runs(study.protocols["minutes"], [0])
    }
    for spec in specs:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            cost.build(spec).eval()(torch.zeros(1, 3, 16, 16))
        assert cost._counted(spec, 16) == counter.get_total_flops() // 2


def test_the_rates_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_LARGEST_BATCH", 2)
    monkeypatch.setattr(cost, "_TIMED_STEPS", 1)
    found = cost.rates.__wrapped__(cost._with_blocks(zoo.get_spec("cifar_highway20"), 1), 16)
    assert found.training > 0 < found.evaluation


def test_the_time_is_that_of_the_steps_and_the_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "rates", lambda *_: Rates(1e11, 1e20))
    steps = degradation.STUDY.protocols["short"]["steps"]
    trainings = [
        (each, steps) for each in degradation.runs(degradation.STUDY.protocols["short"], [0]) if not each.copy
    ][:4]
    # 3,000 steps of 128 images: 0.093 for 20 layers and 0.289 for 56, each twice, in PFLOP.
    assert cost.describe(trainings) == "0.77 PFLOP, about 2 h 8 min on this machine"
    monkeypatch.setattr(cost, "rates", lambda *_: Rates(1e20, 1e9))
    # 10,000 images after each of 7.68 epochs, and 20,000 at the end, each a third of a training image.
    forward = cost.flops(trainings[0][0], 1) / 128 / 3
    assert cost.seconds(*trainings[0]) == pytest.approx((76_800 + 20_000) * forward / 1e9)
    assert cost.seconds(trainings[0][0], 0) == 0
