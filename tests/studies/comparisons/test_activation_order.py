"""Whether a block whose layers are in another order is noticed, and the pairs that are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.studies import known_trainings

from resnets.models.blocks import PreActBlock, ResidualBlock
from resnets.models.resnet import ResNet
from resnets.models.variants import block_variants
from resnets.recipes.recipe import Recipe
from resnets.report.figures import canvas
from resnets.studies import verdict
from resnets.studies.comparisons import activation_order as study
from resnets.studies.judge_study import judge_all
from resnets.studies.trainings import cifar_training

NUMBERS = study.STUDY.protocols["minutes"] | {"depth": 20}


@pytest.mark.parametrize("name", study.ORDERS)
def test_the_layers_of_each_order_are_those_of_the_papers_figure(name: str) -> None:
    control = study.order_control(name, study.recipe(name, 0, NUMBERS))
    assert control.holds, control.found


SABOTAGES = {
    study.ORIGINAL: (ResidualBlock, lambda self, x: self.branch(x) + self.shortcut(x)),
    study.NORM_AFTER: (
        block_variants.NormAfterBlock,
        lambda self, x: self.act(self.norm(self.branch(x)) + self.shortcut(x)),
    ),
    study.ACT_BEFORE: (block_variants.ActBeforeBlock, lambda self, x: self.act(self.branch(x) + self.shortcut(x))),
    study.ACT_ONLY: (block_variants.ActOnlyBlock, lambda self, x: self.branch(x) + self.shortcut(x)),
    study.FULL: (PreActBlock, lambda self, x: self.branch(self.act(self.norm(x)))),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_another_order_or_no_shortcut_fails_the_control(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block, forward = SABOTAGES[name]
    monkeypatch.setattr(block, "forward", forward)
    assert not study.order_control(name, study.recipe(name, 0, NUMBERS)).holds


def test_one_block_in_another_order_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cifar_training.new_network

    def changed(recipe: Recipe) -> ResNet:
        net = real(recipe)
        net.stage3.block2.act = torch.nn.Identity()  # type: ignore[union-attr]
        return net

    monkeypatch.setattr(cifar_training, "new_network", changed)
    control = study.order_control(study.ORIGINAL, study.recipe(study.ORIGINAL, 0, NUMBERS))
    assert not control.holds
    assert "in stage3.block2" in control.found


def test_other_weights_than_those_of_the_original_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cifar_training.new_network

    def wider(recipe: Recipe) -> ResNet:
        width = (16, 32, 72) if recipe.model.preactivation else (16, 32, 64)
        return real(replace(recipe, model=replace(recipe.model, out_channels=width)))

    monkeypatch.setattr(cifar_training, "new_network", wider)
    found = [study.order_control(name, study.recipe(name, 0, NUMBERS)).holds for name in study.ORDERS]
    assert found == [name != study.FULL for name in study.ORDERS]


@pytest.mark.parametrize("name", [study.ORIGINAL, study.FULL])
def test_an_order_that_has_not_learned_decides_nothing(name: str) -> None:
    known = known_trainings.setup(
        study.STUDY, NUMBERS, range(3), lambda each, seed, _: 80.0 + seed if each == name else 20.0
    )
    for found in judge_all(study.STUDY, study.measure(known), verdict.LOOKS[3]).values():
        assert found.word == "undecided"
        assert f"{name}: a network has not learned" in found.reason


def test_each_pair_has_the_order_that_the_paper_finds_worse_first(tmp_path: Path) -> None:
    for one, other in study.PAIRS.values():
        # An effect as large as the paper's is never called "not shown".
        assert study.ORDERS[one].published - study.ORDERS[other].published >= study.STUDY.rule.smallest_effect
    errors = {
        study.ORIGINAL: 20.0,
        study.NORM_AFTER: 25.0,
        study.ACT_BEFORE: 23.0,
        study.ACT_ONLY: 21.0,
        study.FULL: 22.0,
    }
    known = known_trainings.setup(
        study.STUDY,
        NUMBERS,
        range(3),
        lambda name, seed, _: errors.get(name, 20.0) + 0.01 * seed * (name == study.FULL),
    )
    found = study.measure(known)
    assert all(control.holds for control in found.controls)
    assert [control.name for control in found.controls[:3]] == [
        f"one network trained twice, seed {k}" for k in range(3)
    ]
    verdicts = judge_all(study.STUDY, found, verdict.LOOKS[3])
    assert [each.word for each in verdicts.values()] == ["shown", "shown", "opposite", "opposite"]
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "activation-order") as page:
        study.draw(found.rows, page)
        assert [label.get_text() for label in page.axes[0].get_yticklabels()] == list(study.PAIRS)
