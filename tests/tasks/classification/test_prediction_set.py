"""Probabilities, losses and the table of predictions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from resnets.tasks.classification.prediction_set import Predictions, average, log_softmax


def predictions(count: int = 50, classes: int = 4, *, seed: int = 0, temperature: float = 1.0) -> Predictions:
    random = np.random.default_rng(seed)
    return Predictions(
        paths=tuple(f"{number}.png" for number in range(count)),
        true=random.integers(0, classes, count),
        logits=random.normal(0, 3, (count, classes)).astype(np.float32),
        class_names=tuple("abcdefghij"[:classes]),
        temperature=temperature,
    )


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_probabilities_and_losses_are_those_of_torch(temperature: float) -> None:
    made = predictions(temperature=temperature)
    logits = torch.from_numpy(made.logits).double() / temperature
    assert np.allclose(made.probabilities, torch.softmax(logits, 1).numpy(), rtol=1e-12)
    assert np.allclose(made.confidence, made.probabilities.max(1))
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(made.true), reduction="none")
    assert np.allclose(made.losses, losses.numpy(), rtol=1e-12)


def test_the_temperature_changes_no_prediction() -> None:
    assert (predictions(temperature=7).predicted == predictions().predicted).all()


def test_large_logits_stay_numbers() -> None:
    assert np.isfinite(log_softmax(np.array([[3e4, -3e4]], dtype=np.float32))).all()


def test_the_average_is_that_of_the_probabilities() -> None:
    logs = [log_softmax(predictions(seed=seed).logits) for seed in range(3)]
    assert np.allclose(np.exp(average(logs)), np.mean([np.exp(log) for log in logs], axis=0))


def test_images_without_a_label_have_no_loss() -> None:
    made = predictions(6)
    made.true[[1, 4]] = -1
    assert np.isnan(made.losses).tolist() == [False, True, False, False, True, False]
    assert not made.correct[[1, 4]].any()
    known = made.with_labels()
    assert known.paths == ("0.png", "2.png", "3.png", "5.png")
    assert np.isfinite(known.losses).all()


def test_the_table_has_a_row_per_image_and_empty_cells_without_a_label(tmp_path: Path) -> None:
    made = Predictions(
        paths=('a,"b".png', "new\nline.png", "bytes\udcff.png"),
        true=np.array([1, -1, 0]),
        logits=np.array([[0, 0], [0, 5], [3, 0]], dtype=np.float32),
        class_names=("cat", "größe 猫"),
    )
    made.write_csv(tmp_path / "p.csv")
    text = (tmp_path / "p.csv").read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert [row["path"] for row in rows] == list(made.paths)
    assert [row["true"] for row in rows] == ["größe 猫", "", "cat"]
    assert [row["predicted"] for row in rows] == ["cat", "größe 猫", "cat"]
    assert [row["probability"] for row in rows] == ["0.500000", "0.993307", "0.952574"]
    assert [row["loss"] for row in rows] == ["0.693147", "", "0.048587"]
