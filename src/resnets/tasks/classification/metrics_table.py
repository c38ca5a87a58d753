"""Tables of the metrics and of the classes for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from resnets.message_format import printable

MAX_CLASSES = 40  # rows on a terminal; of more classes, those with the lowest recall


def summary_table(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row for each metric, a column for each model."""
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="left", overflow="fold")
    top = summaries[0]["top5_of"]
    rows = {
        "top-1": lambda each: _percent(each["top1"], each["top1_interval"]),
        f"top-{top}": lambda each: _percent(each["top5"], each["top5_interval"]),
        "precision, macro": lambda each: _percent(each["precision_macro"]),
        "recall, macro (balanced accuracy)": lambda each: _percent(each["recall_macro"]),
        "F1, macro": lambda each: _percent(each["f1_macro"]),
        "loss (cross-entropy)": lambda each: "–" if each["loss"] is None else f"{each['loss']:.4f}",
        "Brier score": lambda each: "–" if each["brier"] is None else f"{each['brier']:.4f}",
        f"calibration error ({summaries[0]['ece_bins']} bins)": lambda each: _percent(
            each["ece"], each["ece_interval"]
        ),
        "temperature": lambda each: f"{each['temperature']:.3f}",
    }
    if top == 1 or top == summaries[0]["num_classes"]:
        del rows[f"top-{top}"]  # with so few classes it is always 100 %
    for name, cell in rows.items():
        table.add_row(name, *[cell(each) for each in summaries])
    return table


def class_table(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Table]:
    """The title and the table of the classes, from the rows of `metrics.per_class`."""
    shown = [row for row in rows if row["support"] or row["predicted"]]
    title = "Class by class"
    if len(shown) > MAX_CLASSES:
        title = f"The {MAX_CLASSES} of {len(shown)} classes with the lowest recall (all of them: --out, --json)"
        shown = sorted(shown, key=lambda row: (row["recall"] is None, row["recall"] or 0))[:MAX_CLASSES]
    table = Table(box=None)
    table.add_column("class", overflow="fold")
    for name in ("images", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for row in shown:
        recall = _percent(row["recall"], (row["recall_low"], row["recall_high"]))
        label = Text(printable(row["class"]))
        table.add_row(label, f"{row['support']:,}", _percent(row["precision"]), recall, _percent(row["f1"]))
    return title, table


def _percent(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    """`93.1 %`, or `93.1 % [91.0, 94.8]`."""
    if value is None:
        return "–"
    text = f"{100 * value:.1f} %"
    if interval is None or None in interval:
        return text
    low, high = (100 * (end or 0.0) for end in interval)
    return f"{text} [{low:.1f}, {high:.1f}]"
