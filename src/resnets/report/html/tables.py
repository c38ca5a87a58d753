"""The tables of the report: the numbers at the top, confused pairs, classes, splits and the environment."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from resnets.report import confused_classes
from resnets.report.figures import training_curves
from resnets.report.html.number_formats import duration, percent
from resnets.report.html.prediction_stats import PredictionStats
from resnets.report.html.run_files import RunFiles

MAX_PAIRS = 30
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


class KeyNumber(NamedTuple):
    """One number at the top of the page."""

    name: str
    value: str
    note: str = ""


class PairRow(NamedTuple):
    """`num_images` of the `total` images of the class `true` were predicted as `predicted`."""

    true: str
    predicted: str
    num_images: int
    total: int


class ClassRow(NamedTuple):
    """A row of `per_class.csv`, with the number of training images of the class; None is unknown."""

    name: str
    training: int | None
    images: int | None
    recall: float | None
    low: float | None
    high: float | None
    precision: float | None
    f1: float | None


class SplitRow(NamedTuple):
    """A split, with its number of images, of classes, and of images of the smallest and the largest class."""

    name: str
    num_images: int
    num_classes: int
    smallest_class: int
    largest_class: int


def key_numbers(files: RunFiles) -> list[KeyNumber]:
    """The numbers at the top."""
    metrics, numbers = files.metrics, []
    if metrics.get("count"):
        low, high = metrics["top1_interval"]
        numbers.append(KeyNumber("accuracy (top-1)", percent(metrics["top1"]), _range(low, high)))
        if selected := metrics.get("selected"):
            numbers.append(KeyNumber("validation accuracy", percent(selected["top1"]), "in-sample"))
        if metrics.get("num_classes", 0) > metrics.get("top5_of", 0) > 1:
            k = metrics["top5_of"]
            numbers.append(
                KeyNumber(f"accuracy (top-{k})", percent(metrics["top5"]), f"true class among the first {k}")
            )
        numbers.append(
            KeyNumber("balanced accuracy", percent(metrics.get("balanced_accuracy")), "mean recall of the classes")
        )
        numbers.append(KeyNumber("loss", f"{metrics['loss']:.3f}", "cross-entropy, lower is better"))
        ends = f", {_range(*metrics['ece_interval'])}" if metrics.get("ece_interval") else ""
        numbers.append(KeyNumber("calibration error", percent(metrics.get("ece")), f"ECE{ends}, lower is better"))
    if best := training_curves.best(files.rows):
        numbers.append(KeyNumber("best epoch", f"{best['epoch']:.0f}", f"of {len(files.rows)}"))
    seconds = files.rows[-1].get("time_seconds") if files.rows else None
    if seconds:
        epochs = "1 epoch" if len(files.rows) == 1 else f"{len(files.rows):,} epochs"
        numbers.append(KeyNumber("training time", duration(seconds), epochs))
    for split in split_rows(files):
        numbers.append(KeyNumber(f"{split.name} images", f"{split.num_images:,}", f"{split.num_classes:,} classes"))
    return numbers


def _range(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}"


def pairs(files: RunFiles, stats: PredictionStats) -> list[PairRow]:
    """The pairs of classes most often confused, by name."""
    names, matrix = stats.confusion_matrix([row.get("class", "") for row in files.per_class])
    return [
        PairRow(names[pair.true], names[pair.predicted], pair.num_images, pair.total)
        for pair in confused_classes.most_confused_pairs(matrix, MAX_PAIRS)
    ]


def class_rows(files: RunFiles) -> list[ClassRow]:
    """The rows of `per_class.csv`, each with the number of training images of its class."""
    training = Counter(row.get("label", "") for row in files.split if row.get("split") == "train")
    rows = []
    for row in files.per_class:
        recall, low, high, precision, f1, support = (
            _number(row, key) for key in ("recall", "recall_low", "recall_high", "precision", "f1", "support")
        )
        name, images = row.get("class", ""), None if support is None else int(support)
        rows.append(ClassRow(name, training[name] if training else None, images, recall, low, high, precision, f1))
    return rows


def _number(row: dict[str, str], key: str) -> float | None:
    try:
        value = float(row.get(key, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def split_rows(files: RunFiles) -> list[SplitRow]:
    """The number of images of each split in `split.csv`."""
    counts: dict[str, Counter[str]] = {}
    for row in files.split:
        counts.setdefault(row.get("split", ""), Counter())[row.get("label", "")] += 1
    known = list(SPLIT_NAMES)
    order = sorted(counts, key=lambda name: (known.index(name) if name in known else len(known), name))
    return [
        SplitRow(
            SPLIT_NAMES.get(name, name),
            counts[name].total(),
            len(counts[name]),
            min(counts[name].values()),
            max(counts[name].values()),
        )
        for name in order
        if name
    ]


def flatten(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested JSON with their dotted keys."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flatten(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield key, shlex.join(value) if key in ("command", "resumed_by") else ", ".join(value)
    else:
        yield key, "none" if value is None else str(value)
