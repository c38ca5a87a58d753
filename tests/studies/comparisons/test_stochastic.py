"""`stochastic`: the verdict on known errors, and the control without dropping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.studies import known_trainings

from resnets.report.figures import canvas
from resnets.studies.comparisons import stochastic
from resnets.studies.judge_study import judge_all
from resnets.studies.study import Measurement, Setup
from resnets.studies.trainings.training import SECONDS

NUMBERS = stochastic.STUDY.protocols["short"]


def setup(gain: float) -> Setup:
    def error(network: str, seed: int, step: int) -> float:
        return 20.0 + 0.1 * seed - (gain + 0.01 * seed if network == stochastic.WITH else 0.0)

    return known_trainings.setup(stochastic.STUDY, NUMBERS, range(3), error)


def word(found: Measurement) -> str:
    (verdict,) = judge_all(stochastic.STUDY, found, 0.05).values()
    return verdict.word


@pytest.mark.parametrize(
    ("gain", "expected"), [(1.2, "shown"), (-1.2, "opposite"), (0.005, "not shown"), (-75, "opposite")]
)
def test_the_verdict_on_known_errors(gain: float, expected: str) -> None:
    found = stochastic.measure(setup(gain))
    assert word(found) == expected
    assert all(control.holds for control in found.controls)


def test_a_branch_that_is_dropped_though_none_should_be_is_noticed() -> None:
    known = setup(1.2)
    key = stochastic.CONTROL[1], 1
    other = replace(known.trained[key], rows=[row | {"running_loss": 9.0} for row in known.trained[key].rows])
    found = stochastic.measure(replace(known, trained={**known.trained, key: other}))
    assert [control.holds for control in found.controls] == [True, False, True] + [True] * 3
    assert word(found) == "undecided"


def test_a_rate_that_is_ignored_is_noticed() -> None:
    found = stochastic.measure(replace(setup(1.0), trained=equal(setup(1.0))))
    assert [control.holds for control in found.controls] == [True] * 3 + [False] * 3
    assert found.controls[3].found == "other losses in 0 of 60 windows"


def equal(known: Setup) -> dict:
    """The trainings with the same rows for both networks."""
    return {(name, seed): known.trained[stochastic.WITHOUT if name == stochastic.WITH else name, seed]
            for name, seed in known.trained}  # fmt: skip


def test_a_reference_that_has_not_learned_leaves_it_undecided() -> None:
    high = known_trainings.setup(stochastic.STUDY, NUMBERS, range(3), lambda name, *_: 60.0 + len(name))
    assert word(stochastic.measure(high)) == "undecided"


def test_both_networks_differ_by_the_dropping_only() -> None:
    without, with_, short, never = (each.recipe for each in stochastic.runs(NUMBERS, [4]))
    assert (with_.model.drop_path_rate, with_.model.drop_path_by) == (0.5, "batch")
    assert replace(with_, model=without.model) == without
    assert replace(never, model=without.model) == short
    assert (short.stop.steps, without.stop.steps, without.schedule.milestones_steps) == (20, 6000, (3000, 4500))


def test_the_time_of_a_step_is_told_and_the_curves_are_drawn(tmp_path: Path) -> None:
    known = setup(1.2)
    times = {stochastic.WITHOUT: 6000.0, stochastic.WITH: 4500.0}
    trained = {
        key: replace(each, rows=[*each.rows[:-1], each.rows[-1] | {SECONDS: times.get(key[0])}])
        for key, each in known.trained.items()
    }
    found = stochastic.measure(replace(known, trained=trained))
    assert list(found.notes) == ["a step takes 1 s without and 0.75 s with stochastic depth: 25 % less (paper: 25 %)"]
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "stochastic") as page:
        stochastic.draw(found.rows, page)
        assert len(page.axes[0].lines) == 4
