"""The metrics of a segmentation as tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from resnets.report.number_formats import percent_interval


def metric_table(metrics: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row for each number, with its interval if there is one, and a column for each model."""
    notes = dict.fromkeys(str(each["interval_note"]) for each in metrics if each.get("interval_note"))
    table = Table("", *names, box=None, caption="\n".join(notes) or None, caption_justify="left")
    for key, value in metrics[0].items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            table.add_row(key, *[_with_interval(each, key) for each in metrics])
    return table


def headline(metrics: Mapping[str, Any]) -> str:
    """`mIoU 61.2 % [58.0, 64.1] over 10 of 11 classes, pixel accuracy 88.0 %`."""
    if metrics.get("miou") is None:
        return "no labeled pixels"
    miou = percent_interval(metrics["miou"], metrics.get("miou_interval"))
    measured, total = metrics["num_classes_measured"], metrics["num_classes"]
    accuracy = percent_interval(metrics["pixel_accuracy"])
    note = f" ({metrics['interval_note']})" if metrics.get("interval_note") else ""
    return f"mIoU {miou} over {measured} of {total} classes, pixel accuracy {accuracy}{note}"


def class_table(rows: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]] = ()) -> Table:
    """A row for each class, from `summarize.class_rows`, and below them a line for each group, from `group_rows`."""
    lines = [
        f"group {row['group']}: mIoU {percent_interval(row['miou'])} over {row['num_classes_measured']} classes, "
        f"{row['images']} images"
        for row in groups
    ]
    table = Table(*rows[0], box=None, caption="\n".join(lines) or None, caption_justify="left")
    for row in rows:
        table.add_row(*[_cell(value) for value in row.values()])
    return table


def _with_interval(metrics: Mapping[str, Any], key: str) -> str:
    ends = metrics.get(f"{key}_interval")
    return _cell(metrics.get(key)) + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
