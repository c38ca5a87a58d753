"""Whether a shortcut that is not that of its variant is noticed, and the sign of the differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.studies import known_trainings

from resnets.models import blocks, shortcuts
from resnets.models.variants import block_variants
from resnets.report.figures import canvas
from resnets.studies import verdict
from resnets.studies.comparisons import shortcuts as study
from resnets.studies.comparisons.block_factors import block_factors
from resnets.studies.judge_study import judge_all
from resnets.studies.study import Measurement
from resnets.studies.trainings import cifar_training

NUMBERS = study.STUDY.protocols["minutes"] | {"depth": 20, "variants": 9}


@pytest.mark.parametrize("name", study.VARIANTS)
def test_each_variant_has_its_factors(name: str) -> None:
    assert study.factor_control(name, cifar_training.new_network(study.recipe(name, 0, NUMBERS))).holds


SABOTAGES = {
    # A shortcut is put back or removed, a factor or a gate is ignored.
    "plain": (blocks.PlainBlock, lambda self, x: self.act(self.branch(x) + (x if self.stride == 1 else 0))),
    "original": (blocks.ResidualBlock, lambda self, x: self.act(self.branch(x))),
    "0.5 and 0.5": (block_variants.ScaledBlock, lambda self, x: self.act(self.branch(x) + self.shortcut(x))),
    "0.5 and 1": (block_variants.ScaledBlock, lambda self, x: self.act(0.5 * (self.branch(x) + self.shortcut(x)))),
    "exclusive gate, -6": (block_variants.GatedBlock, block_variants.GatedShortcutBlock.forward),
    "shortcut gate, 0": (block_variants.GatedShortcutBlock, block_variants.GatedBlock.forward),
    "shortcut gate, -6": (
        block_variants.GatedShortcutBlock,
        lambda self, x: self.act(self.branch(x) + self.shortcut(x)),
    ),
    "dropout 0.5": (shortcuts.Dropped, lambda self, x: self.shortcut(x)),
    "1x1": (shortcuts.Projection, lambda self, x: x),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_changed_shortcut_fails_the_control(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    block, forward = SABOTAGES[name]
    monkeypatch.setattr(block, "forward", forward)
    control = study.factor_control(name, cifar_training.new_network(study.recipe(name, 0, NUMBERS)))
    assert not control.holds, control.found


def test_the_factors_of_a_block_by_hand() -> None:
    net = cifar_training.new_network(study.recipe("0.5 and 0.5", 0, NUMBERS))
    net.stage1.block1.shortcut_scale, net.stage1.block1.branch_scale = 0.125, 3.0
    assert block_factors(net.stage1.block1) == (0.125, 3.0)


def test_one_block_of_another_variant_fails_the_control() -> None:
    net = cifar_training.new_network(study.recipe("0.5 and 0.5", 0, NUMBERS))
    net.stage3.block2.branch_scale = 1.0
    control = study.factor_control("0.5 and 0.5", net)
    assert not control.holds
    assert control.found == "0.5 and 1 in stage3.block2"


def measure(errors: dict[str, list[float]]) -> Measurement:
    """The study of variants with these errors by seed, and of as many as there are."""
    numbers = NUMBERS | {"variants": len(errors)}
    known = known_trainings.setup(
        study.STUDY, numbers, range(3), lambda name, seed, _: errors.get(name, [50.0] * 3)[seed]
    )
    return study.measure(known)


def test_the_difference_is_paired_and_its_sign_is_that_of_the_claim() -> None:
    found = measure({"original": [20.0, 25.0, 22.0], "0.5 and 0.5": [30.0, 35.1, 32.0], "1x1": [20.01, 24.99, 22.0]})
    assert all(control.holds for control in found.controls)
    assert len(found.controls) == 3 + 3
    np.testing.assert_allclose(found.effects["0.5 and 0.5"], [10, 10.1, 10])
    verdicts = judge_all(study.STUDY, found, verdict.LOOKS[3])
    assert {name: each.word for name, each in verdicts.items()} == {"0.5 and 0.5": "shown", "1x1": "not shown"}


def test_an_effect_as_large_as_the_papers_smallest_is_never_called_not_shown() -> None:
    smallest = (
        min(each.published for each in study.VARIANTS.values() if each.published and each.published > 6.61) - 6.61
    )
    assert study.STUDY.rule.smallest_effect <= smallest + 1e-9


def test_an_original_that_has_not_learned_decides_nothing() -> None:
    found = measure({"original": [80.0, 80.0, 80.0], "0.5 and 0.5": [90.0, 90.1, 90.0]})
    (only,) = judge_all(study.STUDY, found, verdict.LOOKS[3]).values()
    assert only.word == "undecided"
    assert "original: a network has not learned" in only.reason


def test_the_variants_of_a_protocol() -> None:
    minutes = study.runs(study.STUDY.protocols["minutes"], range(3))
    assert len(minutes) == 3 * (4 + 2)
    assert {each.network for each in minutes} >= {"original", "0.5 and 0.5", "1x1", "plain"}
    assert len({each.fingerprint("") for each in minutes}) == len(minutes)
    assert {each.recipe.model.name for each in study.runs(study.STUDY.protocols["paper"], [0])} == {"cifar_resnet110"}
    assert len(study.runs(study.STUDY.protocols["short"], [0])) == 9 + 2


def test_the_figure_shows_means_seeds_intervals_and_the_paper(tmp_path: Path) -> None:
    found = measure({"original": [20.0, 25.0, 22.0], "0.5 and 0.5": [30.0, 35.1, 32.0], "1x1": [20.1, 24.9, 22.0],
                     "plain": [40.0, 43.0, 41.0]})  # fmt: skip
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "shortcuts") as page:
        study.draw(found.rows, page)
        (axes,) = page.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0.5 and 0.5", "1x1", "plain"]
    interval, seeds, mean, paper = axes.lines[:4]
    assert list(seeds.get_xdata()) == pytest.approx([10, 10.1, 10])
    assert mean.get_xdata()[0] == pytest.approx(10.0333, abs=1e-3)
    judged = verdict.mean_interval(np.array([10, 10.1, 10]), verdict.alpha_of(3) / 3)
    assert list(interval.get_xdata()) == pytest.approx([judged.low, judged.high])
    assert paper.get_xdata()[0] == pytest.approx(12.35 - 6.61)
    assert [text.get_text() for text in axes.texts] == ["paper: fail"]
