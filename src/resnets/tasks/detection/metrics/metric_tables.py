"""The metrics of a detection as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from resnets.message_format import format_list
from resnets.report.number_formats import percent_interval

NO_OBJECTS = "the images have no object of these classes, so there is no AP"


def metric_table(metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row for each number, with its interval if there is one, and a column for each model."""
    table = Table("", *names, box=None)
    for key, value in metrics[0].items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            table.add_row(key, *[_with_interval(each, key) for each in metrics])
    return table


def headline(metrics: Mapping[str, Any]) -> str:
    """AP of the boxes, and of the masks, and the F1, of those that were measured; or why there are none."""
    if metrics.get("num_objects") == 0:
        return NO_OBJECTS
    named = [("box AP", "box_ap"), ("AP50", "box_ap50"), ("mask AP", "mask_ap"), ("F1", "f1_micro")]
    return ", ".join(
        f"{label} {percent_interval(metrics[key])}" for label, key in named if metrics.get(key) is not None
    )


def used_classes(rows: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """The rows of classes with an object or a report, and a line on the others, as of a list of more classes than are used."""
    used = [row for row in rows if row["objects"] or row["reported"]]
    others = [row["class"] for row in rows if not (row["objects"] or row["reported"])]
    if len(others) < 2 or not used:
        return rows, ""
    return used, f"{len(others)} other classes have no object here, and none is reported: {format_list(others, 4)}."


def class_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each class, from `metrics/summarize.class_rows`; unused ones are in a line below."""
    used, unused = used_classes(rows)
    caption = unused if any(row["objects"] for row in rows) else f"{NO_OBJECTS[0].upper()}{NO_OBJECTS[1:]}."
    table = Table(*rows[0], box=None, caption=caption or None, caption_justify="left")
    for row in used:
        table.add_row(*[_cell(value) for value in row.values()])
    return table


def _with_interval(metrics: Mapping[str, Any], key: str) -> str:
    ends = metrics.get(f"{key}_interval")
    return _cell(metrics.get(key)) + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
