"""The network's logits, by whatever was chosen, for pictures of one size and of many."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from resnets.engine import choice, engines
from resnets.engine.runner import MOST_SHAPES, Runner
from resnets.models.resnet import ResNet


def test_a_job_of_unknown_length_is_the_networks_own(net: ResNet, pictures: Tensor) -> None:
    runner = Runner(net)
    runner.expect(None, 4)
    assert torch.equal(runner.logits(pictures), net(pictures).detach())
    assert torch.equal(runner.embed(pictures), net.embed(pictures).detach())


def test_an_engine_is_made_once_and_used_to_the_end(
    net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setitem(engines.MAKERS, "compile", lambda *a: built.append("one") or engines.MAKERS["torch"](*a))
    runner = Runner(net, "compile", "bf16")
    runner.expect(11, 4)
    for _ in range(2):
        first, second, last = runner.logits(pictures), runner.logits(pictures), runner.logits(pictures[:3])
        assert torch.equal(first, second)
        torch.testing.assert_close(last, first[:3])
        runner.expect(10**9, 4)
    assert built == ["one"]
    assert not torch.equal(first, net(pictures))
    torch.testing.assert_close(first, net(pictures).detach(), rtol=0.05, atol=0.05)


def test_a_longer_job_is_chosen_for_anew(net: ResNet, pictures: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    choose = choice.choose
    monkeypatch.setattr(choice, "choose", lambda *a, **b: counts.append(b["count"]) or choose(*a, **b))
    runner = Runner(net)
    for count in (4, 3, 8, 8):
        runner.expect(count, 4)
        runner.logits(pictures)
    assert counts == [4, 8]


def test_pictures_of_many_sizes_are_not_compiled_for(net: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    torch_maker = engines.MAKERS["torch"]
    monkeypatch.setitem(engines.MAKERS, "torch", lambda *a: made.append(a[2]) or torch_maker(*a))
    runner = Runner(net, precision="bf16")
    monkeypatch.setattr(engines, "available", lambda device: ("torch",))
    runner.expect(100, 2)
    for side in range(32, 32 + MOST_SHAPES + 3):
        pictures = torch.randn(2, 3, side, side)
        torch.testing.assert_close(runner.logits(pictures), net(pictures).detach(), rtol=0.1, atol=0.1)
    assert len(made) == MOST_SHAPES + 1


def test_a_network_in_float64_is_left_alone(net: ResNet, pictures: Tensor) -> None:
    import copy

    double = copy.deepcopy(net).double()
    runner = Runner(double)
    runner.expect(10**9, 4)
    logits = runner.logits(pictures.double())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, net(pictures).detach(), rtol=1e-4, atol=1e-4)
