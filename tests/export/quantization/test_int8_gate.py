"""The gate accepts a true loss at the limit at most as often as it promises, and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.errors import UserError
from resnets.export.quantization.int8_gate import (
    NOT_PROVED,
    REFUSED,
    AccuracyLoss,
    ClassLoss,
    Gain,
    check_limits,
    judge,
    judge_loss,
    measure_loss,
)
from resnets.inference.exported.int8_files import PASSED
from resnets.tasks.classification.confidence_intervals import paired_score
from resnets.tasks.classification.prediction_set import Predictions

FAST = Gain("openvino fp32", 16, (1.9, 2.0, 2.1))


def of(count: int, only_fp32: int, only_int8: int) -> AccuracyLoss:
    return AccuracyLoss(count - only_fp32 - only_int8, only_fp32, only_int8, 0)


@pytest.mark.parametrize("lost_and_won", [(0.005, 0.0), (0.0085, 0.0035), (0.0255, 0.0205)])
@pytest.mark.parametrize("count", [200, 734, 1850, 10_000])
def test_a_true_loss_at_the_limit_is_accepted_in_at_most_5_of_100_cases(
    count: int, lost_and_won: tuple[float, float]
) -> None:
    """1,000 pairs of models that lose exactly 0.5 points; in the first case every image that differs is a loss."""
    lost, won = lost_and_won
    draws = np.random.default_rng(count).multinomial(count, (lost, won, 1 - lost - won), size=1000)
    accepted = 100 * paired_score(draws[:, 1], draws[:, 0], count)[1] <= 0.5
    assert accepted.mean() <= 0.05
    for index in (0, int(accepted.argmax()), int(accepted.argmin())):
        loss = of(count, int(draws[index, 0]), int(draws[index, 1]))
        assert judge_loss(loss, 0.5).passed == accepted[index]
    if count < 765 and not won:
        assert not accepted.any()
    shares = draws[:, :2] / count
    difference = shares[:, 0] - shares[:, 1]
    wald = difference + 1.96 * np.sqrt(np.maximum(shares.sum(1) - difference**2, 0) / count)
    if count == 200 and not won:
        assert (wald <= 0.005).mean() > 0.3  # what this simulation is there to refuse


def test_a_model_without_a_loss_passes_with_enough_images() -> None:
    draws = np.random.default_rng(0).multinomial(10_000, (0.006, 0.006, 0.988), size=200)
    assert np.mean(100 * paired_score(draws[:, 1], draws[:, 0], 10_000)[1] <= 0.5) > 0.95


def test_too_few_images_are_no_proof() -> None:
    loss = of(600, 0, 0)
    assert judge_loss(loss, 0.5) == (
        NOT_PROVED,
        "it loses 0.00 points [-0.64, 0.64] on 600 images; the upper end may be 0.5 (`max_drop`): about 165 more images are "
        "needed to prove it",
    )
    assert not judge(loss, FAST, max_drop=0.5, min_gain=1.2).passed
    assert not judge_loss(of(764, 0, 0), 0.5).passed
    assert judge_loss(of(765, 0, 0), 0.5).passed


@pytest.mark.parametrize(("count", "lost", "won"), [(734, 5, 4), (200, 0, 1), (1000, 4, 0), (5000, 70, 60)])
def test_the_images_that_are_needed_are_just_enough(count: int, lost: int, won: int) -> None:
    loss = of(count, lost, won)
    more = loss.images_needed(0.5)
    assert more is not None
    assert more > 0
    for missing, proved in ((0, True), (1, False)):
        factor = (count + more - missing) / count
        upper = 100 * paired_score(won * factor, lost * factor, count * factor)[1]
        assert (upper <= 0.5) == proved


def test_a_loss_above_the_limit_is_refused_whatever_the_number_of_images() -> None:
    verdict = judge_loss(of(10_000, 260, 18), 0.5)
    assert verdict.name == REFUSED
    assert verdict.reason == (
        "it loses 2.42 points [2.11, 2.76] on 10,000 images; the upper end may be 0.5 (`max_drop`)"
    )
    assert of(10_000, 260, 18).images_needed(0.5) is None


def test_an_int8_model_that_is_not_faster_is_refused() -> None:
    """As of S8S8 without VNNI: 1.19 times."""
    slow = Gain("openvino fp32", 16, (1.15, 1.19, 1.22))
    verdict = judge(of(10_000, 60, 66), slow, max_drop=0.5, min_gain=1.2)
    assert verdict == (
        REFUSED,
        "it is 1.19 times [1.15, 1.22] as fast as openvino fp32 in batches of 16; needed is 1.2 (`min_gain`)",
    )
    passed = judge(of(10_000, 60, 66), FAST, max_drop=0.5, min_gain=1.2)
    assert passed.name == PASSED
    assert "2.00 times [1.90, 2.10] as fast" in passed.reason
    assert judge(of(10_000, 260, 18), FAST, max_drop=0.5, min_gain=1.2).name == REFUSED


def test_rounds_on_both_sides_of_the_limit_prove_no_speed() -> None:
    """The median of the ratios is above, as on a machine that is busy in some of the rounds; one slow round is no matter."""
    busy = Gain("openvino fp32", 16, (0.19, 0.5, 1.0, 1.3, 1.4, 2.0, 8.39))
    assert busy.speedup == 1.3
    assert judge(of(10_000, 60, 66), busy, max_drop=0.5, min_gain=1.2) == (
        NOT_PROVED,
        "it is 1.30 times [0.19, 8.39] as fast as openvino fp32 in batches of 16; needed is 1.2 (`min_gain`), and a quarter of "
        "the rounds is below: the machine is busy, run it again",
    )
    once = Gain("openvino fp32", 16, (0.19, 1.25, 1.25, 1.3, 1.4, 1.4, 1.4))
    assert judge(of(10_000, 60, 66), once, max_drop=0.5, min_gain=1.2).passed
    assert judge(of(10_000, 60, 66), busy, max_drop=0.5, min_gain=1.35).name == REFUSED


def predictions(labels: list[int], true: list[int]) -> Predictions:
    logits = np.eye(2, dtype=np.float32)[labels] * 3
    return Predictions(tuple(map(str, range(len(labels)))), np.array(true), logits, ("ant", "bee"))


def test_the_loss_is_counted_image_by_image() -> None:
    """The last image has no label; 'bee' loses one of its three images, 'ant' wins one."""
    true = [0, 0, 1, 1, 1, -1]
    loss = measure_loss(predictions([0, 1, 1, 1, 0, 0], true), predictions([0, 0, 1, 0, 0, 1], true))
    assert (loss.both, loss.only_fp32, loss.only_int8, loss.neither) == (2, 1, 1, 1)
    assert (loss.points, loss.same_fraction) == (0.0, 0.6)
    assert loss.largest_probability_change == pytest.approx(np.tanh(1.5))
    assert loss.classes == (ClassLoss("bee", 3, 2, 1),)
    assert str(loss.classes[0]) == "'bee' loses 33.3 points (2 of 3 right before, 1 after)"
    assert loss.to_dict()["count"] == 5


def test_a_class_is_named_only_above_5_points() -> None:
    true = [0] * 20 + [1] * 20
    before, after = predictions(true, true), predictions([1] + [0] * 19 + [1] * 20, true)
    assert measure_loss(before, after).classes == ()
    after = predictions([1] * 2 + [0] * 18 + [1] * 20, true)
    assert measure_loss(before, after).classes == (ClassLoss("ant", 20, 20, 18),)
    with pytest.raises(UserError, match="labeled images; there are none"):
        measure_loss(predictions([0], [-1]), predictions([0], [-1]))


@pytest.mark.parametrize(
    ("max_drop", "min_gain", "message"),
    [(0.0, 1.2, "`max_drop`.*received 0"), (101.0, 1.2, "`max_drop`"), (0.5, 0.0, "`min_gain`.*received 0"),
     (float("nan"), 1.2, "`max_drop`"), (0.5, float("nan"), "`min_gain`")],
)  # fmt: skip
def test_limits_that_decide_nothing(max_drop: float, min_gain: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_limits(max_drop, min_gain)
