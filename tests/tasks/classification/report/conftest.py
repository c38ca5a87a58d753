"""A small run directory as training leaves it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets import atomic_write
from resnets.recipes.override import assign
from resnets.recipes.recipe import Recipe
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions
from resnets.training.run_dir import run_dir


def journal_rows(epochs: int, val: bool = True) -> list[dict]:
    """Rows of `metrics.jsonl`; the validation accuracy is best in the epoch before the last."""
    rows = []
    for epoch in range(1, epochs + 1):
        progress = epoch / (epochs + 1) - (0.4 if epoch == epochs and epochs > 1 else 0)
        row = {
            "epoch": epoch,
            "step": 10 * epoch,
            "time_seconds": 61.5 * epoch,
            "train/loss": 2.0 / epoch,
            "train/accuracy_top1": 0.9 * progress,
            "lr": 0.1 / epoch,
        }
        if val:
            row |= {"val/loss": 2.2 / epoch, "val/accuracy_top1": 0.8 * progress, "val/accuracy_top5": 0.9 * progress}
        rows.append(row)
    return rows


def make_predictions(paths: Sequence[str], classes: Sequence[str], temperature: float = 1.0) -> Predictions:
    """Labels go round; every fourth image of a set is taken for the class after its own."""
    count, kinds = len(paths), len(classes)
    true = np.arange(count) % kinds
    predicted = np.where(np.arange(count) % 4 == 3, (true + 1) % kinds, true)
    logits = np.random.default_rng(0).normal(0, 0.3, (count, kinds))
    logits[np.arange(count), predicted] += 2.0
    return Predictions(tuple(paths), true.astype(np.int64), logits.astype(np.float32), tuple(classes), temperature)


def write_run(run: Path, predictions: Predictions | None, epochs: int = 3) -> Path:
    """All files that training writes before the report is drawn."""
    run.mkdir(parents=True, exist_ok=True)
    run_dir.write_metrics(run, journal_rows(epochs, val=predictions is not None), [])
    recipe = assign(assign(Recipe(name="scratch"), "optim.lr", 0.125), "data.location", "flowers & <b>bees</b>")
    run_dir.write_recipe(run, recipe, {"optim.lr": "--lr"})
    run_dir.write_json(
        run / "environment.json", {"versions": {"torch": "2.15.0+test"}, "command": ["resnets", "train"]}
    )
    if predictions is None:
        return run
    run_dir.write_json(run / "metrics.json", {**metrics.summarize(predictions), "split": "val", "in_sample": True})
    atomic_write.write_csv(run / "per_class.csv", metrics.per_class(predictions))
    predictions.write_csv(run / "predictions.csv")
    with (run / "split.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "sha256", "label", "split", "group"])
        for path, true in zip(predictions.paths, predictions.true, strict=True):
            table.writerow([path, "0", predictions.class_names[true], "val", ""])
            table.writerows([[f"{path}.{copy}", "0", predictions.class_names[true], "train", ""] for copy in range(4)])
    return run


@pytest.fixture
def images(tmp_path: Path) -> Callable[[int], list[str]]:
    """Give a function that writes so many small images and returns their paths."""

    def write(count: int) -> list[str]:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        draws = np.random.default_rng(1)
        paths = [folder / f"{number:04d}.png" for number in range(count)]
        for path in paths:
            Image.fromarray(draws.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
        return [str(path) for path in paths]

    return write


@pytest.fixture
def finished(tmp_path: Path, images) -> Callable[..., tuple[Path, Predictions]]:
    """Give a function that makes a run directory of these classes, without its images and its page."""

    def make(
        classes: Sequence[str] = ("ant", "bee", "cat"), count: int = 40, temperature: float = 1.5, epochs: int = 3
    ):
        predictions = make_predictions(images(count), classes, temperature)
        return write_run(tmp_path / "a run", predictions, epochs), predictions

    return make


@pytest.fixture
def unmeasured(tmp_path: Path) -> Path:
    """The directory of a run without validation images."""
    return write_run(tmp_path / "no val", None)


@pytest.fixture
def predicted() -> Callable[..., Predictions]:
    return make_predictions


@pytest.fixture
def pixels() -> Callable[[Path], np.ndarray]:
    """Give a function from an image's path to its pixels, int (H, W, 3)."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    return read


@pytest.fixture
def rewrite() -> Callable[..., None]:
    """Give a function that changes values of a run's `metrics.json`."""

    def change(run: Path, **values) -> None:
        path = run / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change
