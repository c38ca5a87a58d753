"""`degradation`: the verdict on known errors, its controls, and the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.studies import known_trainings

from resnets.report.figures import canvas
from resnets.studies.comparisons import degradation
from resnets.studies.judge_study import judge_all
from resnets.studies.study import Measurement
from resnets.studies.trainings import cifar_training

NUMBERS = degradation.STUDY.protocols["short"]


def measure(plain: float, residual: float, seeds: int = 3, far_until: int = 500) -> Measurement:
    """The study of networks whose deeper ones are behind by so many points at the end, and by 12 until a step."""

    def error(network: str, seed: int, step: int) -> float:
        behind = plain if network.startswith("plain") else residual
        behind = 12.0 if step <= far_until else behind
        return 30.0 + 0.1 * seed + (behind + 0.05 * seed if network.endswith("56") else 0.0)

    return degradation.measure(known_trainings.setup(degradation.STUDY, NUMBERS, range(seeds), error))


def words(found: Measurement) -> dict[str, str]:
    return {subject: verdict.word for subject, verdict in judge_all(degradation.STUDY, found, 0.05).items()}


@pytest.mark.parametrize(
    ("plain", "residual", "word"),
    [
        (10, 0.5, "shown"),
        (-9, 0.5, "opposite"),
        (0.3, 0.3, "not shown"),
        (10, 4.0, "undecided"),
        (-1, -3, "undecided"),  # the plain networks gain with depth, too
        (0.05, -3, "undecided"),  # their loss is within the interval
    ],
)
def test_the_verdict_on_known_errors(plain: float, residual: float, word: str) -> None:
    found = measure(plain, residual)
    assert words(found) == {"training error": word, "test error": word}
    assert found.effects["test error"].tolist() == pytest.approx([plain - residual] * 3)
    assert all(control.holds for control in found.controls)
    assert len(found.controls) == 3 + 4


def test_nothing_is_decided_before_the_deeper_residual_network_has_met_the_other() -> None:
    found = measure(10, 0.5, far_until=NUMBERS["steps"])
    verdicts = judge_all(degradation.STUDY, found, 0.05)
    assert {verdict.word for verdict in verdicts.values()} == {"undecided"}
    assert "after 3,000 steps the deeper residual network is still 12.1 points behind" in verdicts["test error"].reason
    assert verdicts["test error"].reason.endswith("more steps are needed (in the paper it is ahead after 64,000)")
    assert words(measure(10, 0.5, seeds=2)) == {"training error": "undecided", "test error": "undecided"}


def test_the_notes_say_what_an_early_end_would_have_said() -> None:
    *gaps, first, _, _, _ = notes = measure(10, 0.5, far_until=500).notes
    seeds = notes[-3:]
    assert gaps == [
        f"{subject} error: {kind}-56 minus {kind}-20: {gap} points, 99.5 % interval"
        for subject in ("training", "test")
        for kind, gap in (("plain", "10.1 [9.64, 10.5]"), ("residual", "0.55 [0.143, 0.957]"))
    ]
    assert first == "after 100 steps, by the running training error: undecided, 0.0 points"
    assert all(note.endswith("is positive from the 600 steps on") for note in seeds)
    assert measure(-9, 0.5).notes[-1].endswith("is not positive at the end")


def test_a_plain_network_that_does_not_get_worse_does_not_show_the_claim() -> None:
    verdict = judge_all(degradation.STUDY, measure(-1, -3), 0.05)["test error"]
    assert verdict.interval.low > 0
    assert verdict.reason.startswith("the interval of the plain networks' gap alone is not above 0: -0.95 [")


def test_a_training_that_cannot_be_repeated_leaves_all_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    known = known_trainings.setup(degradation.STUDY, NUMBERS, range(3), lambda *_: 30 + float(random.normal()))
    found = degradation.measure(known)
    assert [control.holds for control in found.controls[:3]] == [False] * 3
    assert set(words(found).values()) == {"undecided"}


def test_the_networks_differ_in_kind_and_depth_only() -> None:
    trainings = {each.network: each.recipe for each in degradation.runs(NUMBERS, [7])}
    models = [trainings[name].model.name for name in degradation.names(NUMBERS)]
    assert models == ["cifar_plain20", "cifar_plain56", "cifar_resnet20", "cifar_resnet56"]
    plain = trainings["plain-20"]
    assert (plain.stop.steps, plain.schedule.milestones_steps, plain.data.batch, plain.optim.lr) == (
        3000,
        (1500, 2250),
        128,
        0.1,
    )
    assert {cifar_training.recipe("cifar_plain20", 7, NUMBERS)} == {
        cifar_training.recipe(recipe.model.name or "", 7, NUMBERS).__class__(**{**vars(recipe), "model": plain.model})
        for recipe in (trainings[name] for name in degradation.names(NUMBERS))
    }


def test_the_figure_is_drawn_from_the_rows(tmp_path: Path) -> None:
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "degradation") as page:
        degradation.STUDY.draw(measure(10, 0.5).rows, page)
        plain, residual, gap = page.axes
    assert len(plain.lines) == len(residual.lines) == 4
    statistic = gap.lines[0].get_ydata()
    assert statistic[0] == pytest.approx(0, abs=1e-9)
    assert statistic[-1] == pytest.approx(9.5)
