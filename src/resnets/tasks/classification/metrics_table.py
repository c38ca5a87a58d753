"""Tables of the metrics and of the classes for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from resnets.message_format import printable
from resnets.report.number_formats import percent_interval

MAX_CLASSES = 40  # rows on a terminal; of more classes, those with the lowest recall


def summary_table(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row for each metric, a column for each model."""
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="left", overflow="fold")
    top = summaries[0]["top5_of"]
    percents = {
        "top-1": "top1", f"top-{top}": "top5", "precision, macro": "precision_macro",
        "recall, macro (balanced accuracy)": "recall_macro", "F1, macro": "f1_macro",
    }  # fmt: skip
    if top == 1 or top == summaries[0]["num_classes"]:
        del percents[f"top-{top}"]  # with so few classes it is always 100 %
    for name, key in percents.items():
        table.add_row(name, *[percent_interval(each[key], each.get(f"{key}_interval")) for each in summaries])
    for name, key in {"loss (cross-entropy)": "loss", "Brier score": "brier"}.items():
        table.add_row(name, *["–" if each[key] is None else f"{each[key]:.4f}" for each in summaries])
    errors = [percent_interval(each["ece"], each["ece_interval"]) for each in summaries]
    table.add_row(f"calibration error ({summaries[0]['ece_bins']} bins)", *errors)
    table.add_row("temperature", *[f"{each['temperature']:.3f}" for each in summaries])
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
        recall = percent_interval(row["recall"], (row["recall_low"], row["recall_high"]))
        precision, f1 = percent_interval(row["precision"]), percent_interval(row["f1"])
        table.add_row(Text(printable(row["class"])), f"{row['support']:,}", precision, recall, f1)
    return title, table
