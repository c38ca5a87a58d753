"""The controls of trainings: networks that differ in their shortcuts, and a training that is repeated."""

from __future__ import annotations

import pytest
from tests.studies import known_trainings

from resnets.models.blocks import PlainBlock, ResidualBlock
from resnets.recipes import he2015_cifar
from resnets.studies.trainings import cifar_training

SHORT = {"steps": 3_000, "batch": 128, "imgsz": 32, "window": 100}


def holds(plain: str = "cifar_plain20", residual: str = "cifar_resnet20") -> list[bool]:
    recipes = (cifar_training.recipe(model, 0, known_trainings.TINY) for model in (plain, residual))
    return [control.holds for control in cifar_training.shortcut_controls(*recipes)]


def test_a_residual_network_is_the_plain_one_with_shortcuts() -> None:
    assert holds() == [True, True]
    assert holds(residual="cifar_resnet32")[0] is False


def test_a_shortcut_put_into_one_plain_block_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, calls = PlainBlock.forward, []

    def sabotaged(block: PlainBlock, x):
        calls.append(block)
        y = forward(block, x)
        return y + x if len(calls) == 2 else y

    monkeypatch.setattr(PlainBlock, "forward", sabotaged)
    assert holds() == [True, False]


def test_a_shortcut_taken_from_one_residual_block_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, calls = ResidualBlock.forward, []

    def sabotaged(block: ResidualBlock, x):
        calls.append(block)
        return block.act(block.branch(x)) if len(calls) == 5 else forward(block, x)

    monkeypatch.setattr(ResidualBlock, "forward", sabotaged)
    assert holds() == [True, False]


def test_the_recipe_is_that_of_the_paper_with_fewer_steps() -> None:
    paper, ours = (
        he2015_cifar.recipe("cifar_plain56"),
        cifar_training.recipe("cifar_plain56", 3, SHORT | {"steps": 64_000}),
    )
    assert (ours.schedule, ours.stop, ours.optim, ours.data, ours.model) == (
        paper.schedule, paper.stop, paper.optim, paper.data, paper.model
    )  # fmt: skip
    assert (ours.augment, ours.seed) == (paper.augment, 3)
    small = cifar_training.recipe("cifar_plain56", 3, SHORT | {"imgsz": 16})
    assert (small.data.imgsz, small.augment.pad_pixels, small.schedule.milestones_steps) == (16, 2, (1500, 2250))
