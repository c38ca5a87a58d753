"""`depth`: the verdict on known losses, and the plain network as the control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tests.studies import known_trainings

from resnets.models.blocks import PlainBlock, PreActBlock, ResidualBlock
from resnets.report.figures import canvas
from resnets.studies.claims import depth
from resnets.studies.judge_study import judge_all
from resnets.studies.study import Measurement

NUMBERS = depth.STUDY.protocols["short"]
SHALLOW = {**NUMBERS, "residual": 20, "preactivation": 110, "plain": 20}


def measure(deep: float, plain: float, numbers: Mapping[str, int] = NUMBERS) -> Measurement:
    """The study of networks that end at these losses; `known_trainings` has an error of 40 times the loss."""

    def error(network: str, seed: int, step: int) -> float:
        end = plain if network.startswith("plain") else deep
        return 40 * (2.4 + (end - 2.4) * step / NUMBERS["steps"] + 0.01 * seed)

    return depth.measure(known_trainings.setup(depth.STUDY, numbers, range(3), error))


@pytest.mark.parametrize(
    ("deep", "plain", "word", "holds"),
    [(1.9, 2.3, "shown", True), (2.6, 2.8, "opposite", True), (1.9, 1.8, "undecided", False)],
)
def test_the_verdict_on_known_losses(deep: float, plain: float, word: str, holds: bool) -> None:
    found = measure(deep, plain)
    assert {subject: each.word for subject, each in judge_all(depth.STUDY, found, 0.05).items()} == {
        "residual-1202": word, "preactivation-1001": word
    }  # fmt: skip
    assert found.effects["residual-1202"].tolist() == pytest.approx(
        [math.log(10) - deep - 0.01 * seed for seed in range(3)]
    )
    assert [control.holds for control in found.controls] == [holds, True, True]


def without_shortcut(block: ResidualBlock | PreActBlock, x: torch.Tensor) -> torch.Tensor:
    return block.branch(x)


@pytest.mark.parametrize(
    ("block", "held"),
    [(ResidualBlock, [True, False, True]), (PreActBlock, [True, True, False])],
)
def test_shortcuts_that_were_taken_away_fail_the_control(
    block: type, held: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "forward", without_shortcut)
    assert [control.holds for control in measure(1.9, 2.3, SHALLOW).controls] == held


def test_shortcuts_that_were_put_into_the_plain_network_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = PlainBlock.forward
    monkeypatch.setattr(PlainBlock, "forward", lambda block, x: x + y if (y := real(block, x)).shape == x.shape else y)
    assert [control.holds for control in measure(1.9, 2.3, SHALLOW).controls] == [True, False, False]


def test_the_networks_of_the_claim_are_trained_by_the_recipe_of_the_paper() -> None:
    trainings = depth.runs(NUMBERS, [0, 1])
    models = [each.recipe.model.name for each in trainings[:3]]
    assert models == ["cifar_resnet1202", "cifar_preresnet1001", "cifar_plain110"]
    assert {each.recipe.schedule.warmup_until_error for each in trainings} == {0.8}
    assert len(trainings) == 6


def test_the_figure_has_a_line_for_each_network(tmp_path: Path) -> None:
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "depth") as page:
        depth.draw(measure(1.9, 2.3).rows, page)
        lines = page.axes[0].lines
    assert [line.get_label() for line in lines] == depth.names(NUMBERS)
    assert lines[0].get_ydata()[-1] == pytest.approx(1.91)
