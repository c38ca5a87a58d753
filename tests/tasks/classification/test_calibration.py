"""The calibration error, and the temperature that makes it small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from resnets.tasks.classification.calibration import (
    BINS,
    bins,
    error_by_chance,
    expected_error,
    fit_temperature,
    fit_temperatures,
)
from resnets.tasks.classification.prediction_set import Predictions, log_softmax


def ece(predictions: Predictions) -> float:
    return expected_error(bins(predictions.confidence, predictions.correct))


def overconfident(count: int = 3000, classes: int = 5, *, by: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model whose probabilities were right before its logits were multiplied by `by`."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (count, classes))
    shares = np.exp(log_softmax(logits))
    true = np.array([random.choice(classes, p=row) for row in shares])
    return (by * logits).astype(np.float32), true


def as_predictions(logits: np.ndarray, true: np.ndarray, temperature: float = 1.0) -> Predictions:
    classes = tuple(str(index) for index in range(logits.shape[1]))
    return Predictions(tuple(map(str, range(len(true)))), true, logits, classes, temperature)


def test_the_error_is_that_of_torchmetrics() -> None:
    logits, true = overconfident()
    made = as_predictions(logits, true)
    theirs = multiclass_calibration_error(
        torch.from_numpy(made.probabilities), torch.from_numpy(true), num_classes=5, n_bins=BINS, norm="l1"
    )
    assert ece(made) == pytest.approx(float(theirs), abs=1e-6)


def test_the_error_of_a_small_table_by_hand() -> None:
    """Confidences .95 and .95, one right: |.5 - .95|; .3 and right: |1 - .3|; weights 2/3 and 1/3."""
    table = bins(np.array([0.95, 0.95, 0.3]), np.array([True, False, True]))
    assert expected_error(table) == pytest.approx(2 / 3 * 0.45 + 1 / 3 * 0.7)
    assert sum(row.num_images for row in table) == 3


def test_a_probability_of_one_and_of_zero_have_a_bin() -> None:
    table = bins(np.array([1.0, 0.0]), np.array([True, False]))
    assert (table[-1].num_images, table[0].num_images) == (1, 1)


@pytest.mark.parametrize(("count", "trials"), [(40, 1000), (3000, 400)])
def test_a_calibrated_model_exceeds_the_error_by_chance_in_5_of_100_cases(count: int, trials: int) -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.3, 1, count)
    limit = error_by_chance(confidence)
    errors = [expected_error(bins(confidence, random.random(count) < confidence)) for _ in range(trials)]
    assert np.mean(np.array(errors) > limit) == pytest.approx(0.05, abs=0.03)
    assert expected_error(bins(confidence, random.random(count) < confidence - 0.3)) > limit
    assert np.isnan(error_by_chance(np.empty(0)))


def test_without_predictions_there_is_no_error() -> None:
    assert np.isnan(expected_error(bins(np.empty(0), np.empty(0, dtype=bool))))


@pytest.mark.parametrize("by", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_that_undoes_the_overconfidence(by: float) -> None:
    logits, true = overconfident(by=by)
    temperature = fit_temperature(logits, true)
    assert temperature == pytest.approx(by, rel=0.06)
    assert ece(as_predictions(logits, true, temperature)) < 0.03


@pytest.mark.parametrize("seed", range(20))
def test_it_is_never_worse_than_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, random.uniform(0.1, 10), (random.integers(1, 40), 3)).astype(np.float32)
    true = random.integers(-1, 3, len(logits))
    temperature = fit_temperature(logits, true)
    assert 1 / 20 <= temperature <= 20
    if (true >= 0).any():
        before = as_predictions(logits, true).with_labels().losses.mean()
        assert as_predictions(logits, true, temperature).with_labels().losses.mean() <= before


def test_where_nothing_can_be_learned_it_stays_one() -> None:
    logits, true = overconfident(50)
    assert fit_temperature(logits, logits.argmax(1)) == 1.0  # all right: the colder the better, without end
    assert fit_temperature(logits, np.full(50, -1)) == 1.0
    assert fit_temperature(logits[:0], true[:0]) == 1.0
    assert fit_temperature(logits[:, :1], np.zeros(50, dtype=int)) == 1.0


@pytest.mark.parametrize("scale", [0.3, 1.0, 8.0, 100.0])
@pytest.mark.parametrize("count", [10, 500])
def test_the_temperatures_of_all_folds_are_those_of_each_alone(scale: float, count: int) -> None:
    random = np.random.default_rng(0)
    true, folds = random.integers(0, 4, count), random.permutation(count) % 5
    logits = random.normal(0, 1, (count, 4)).astype(np.float32)
    logits[np.arange(count), true] += 1
    found = fit_temperatures(logits * np.float32(scale), true, folds, 5)
    alone = [fit_temperature(logits * np.float32(scale), np.where(folds == fold, -1, true)) for fold in range(5)]
    assert found == pytest.approx(alone, rel=1e-6)


def test_all_folds_use_the_same_passes_over_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    random, passes = np.random.default_rng(0), []
    true = random.integers(0, 4, 500)
    logits = random.normal(0, 1, (500, 4)).astype(np.float32)
    logits[np.arange(500), true] += 1
    through = torch.Tensor.logsumexp
    monkeypatch.setattr(torch.Tensor, "logsumexp", lambda rows, axis: passes.append(1) or through(rows, axis))
    fit_temperatures(logits, true, np.arange(500) % 5, 5)
    assert len(passes) <= 25
