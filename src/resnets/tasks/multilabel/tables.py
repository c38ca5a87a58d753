"""Tables of the metrics and of the classes: for the terminal, and as CSV files."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from resnets import atomic_write
from resnets.data.datasets.dataset import Sample, labels_as_text
from resnets.message_format import printable
from resnets.report.number_formats import percent_interval
from resnets.tasks.multilabel import metrics
from resnets.tasks.multilabel.metrics import Labels

MAX_CLASSES = 40  # rows on a terminal; of more classes, those with the lowest average precision


def summary_table(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row for each metric, a column for each model."""
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="left", overflow="fold")
    rows = {
        "mAP": "map", "F1, macro": "f1_macro", "F1, micro": "f1_micro", "precision, micro": "precision_micro",
        "recall, micro": "recall_micro", "images with exactly the true labels": "exact_match",
    }  # fmt: skip
    for title, key in rows.items():
        table.add_row(title, *[percent_interval(each[key], each.get(f"{key}_interval")) for each in summaries])
    numbers = {
        "loss (sum over the classes)": "loss", "labels per image": "labels_per_image",
        "predicted labels per image": "predicted_per_image",
    }  # fmt: skip
    for title, key in numbers.items():
        table.add_row(title, *["–" if each[key] is None else f"{each[key]:.3f}" for each in summaries])
    return table


def class_rows(
    labels: Labels, class_names: Sequence[str], thresholds: np.ndarray, fitted: Sequence[bool]
) -> list[dict[str, Any]]:
    """A row for each class, for JSON: class, support, predicted, ap, threshold, threshold_fitted, precision, recall, f1.

    None where there is nothing to measure.
    """
    values = metrics.per_class(labels)
    return [
        {
            "class": name,
            "support": int(values["support"][k]),
            "predicted": int(values["predicted"][k]),
            "ap": _number(values["ap"][k]),
            "threshold": float(thresholds[k]),
            "threshold_fitted": fitted[k],
            **{key: _number(values[key][k]) for key in ("precision", "recall", "f1")},
        }
        for k, name in enumerate(class_names)
    ]


def class_table(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Table]:
    """The title and the table of the classes, from `class_rows`."""
    shown = [row for row in rows if row["support"] or row["predicted"]]
    title = "Class by class"
    if len(shown) > MAX_CLASSES:
        which = f"{MAX_CLASSES} of {len(shown)} classes with the lowest average precision"
        title = f"The {which} (all of them: --out, --json)"
        shown = sorted(shown, key=lambda row: (row["ap"] is None, row["ap"] or 0))[:MAX_CLASSES]
    table = Table(box=None)
    table.add_column("class", overflow="fold")
    for name in ("images", "AP", "threshold", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for row in shown:
        threshold = f"{row['threshold']:.3f}{'' if row['threshold_fitted'] else ' *'}"
        ap, *cells = (percent_interval(row[key]) for key in ("ap", "precision", "recall", "f1"))
        table.add_row(Text(printable(row["class"])), f"{row['support']:,}", ap, threshold, *cells)
    if not all(row["threshold_fitted"] for row in shown):
        title += " (* not fitted: the class had no image in val)"
    return title, table


def write_predictions(path: Path, samples: Sequence[Sample], labels: Labels, class_names: Sequence[str]) -> None:
    """Write path, true and predicted labels (joined by `|`), and the probability of each class as a CSV file."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "labels", "predicted", *(f"probability {name}" for name in class_names)])
    probabilities = 1 / (1 + np.exp(-labels.logits.astype(np.float64)))
    for sample, predicted, row in zip(samples, labels.predicted, probabilities, strict=True):
        found = "|".join(class_names[k] for k in np.flatnonzero(predicted).tolist())
        table.writerow([sample.path, labels_as_text(sample), found, *(f"{value:.6f}" for value in row)])
    atomic_write.write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
