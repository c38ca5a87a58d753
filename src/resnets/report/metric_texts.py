"""Metrics of `metrics.json` as the page shows them: intervals, key numbers, notices, and the extremes of the classes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from resnets.report.content import KeyNumber
from resnets.report.number_formats import percent


def interval(metrics: Mapping[str, Any], key: str) -> str:
    """`71.2 % to 80.5 %`; "" where there is none, or where the images were used for selection."""
    ends = None if metrics.get("in_sample") else metrics.get(f"{key}_interval")
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else ""


def key_numbers(metrics: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[KeyNumber]:
    """The metrics of `names` that were measured, in percent; the values of `names` are what the page calls them."""
    for key, name in names.items():
        if metrics.get(key) is not None:
            yield KeyNumber(name, percent(metrics[key]), interval(metrics, key))


def notices(metrics: Mapping[str, Any]) -> str:
    """What a reader should know of the evaluation, a sentence each, with a space before it."""
    return "".join(f" {notice[:1].upper()}{notice[1:]}." for notice in metrics.get("notices", []))


def extremes(rows: Sequence[Mapping[str, Any]], key: str, name: str) -> str:
    """A sentence on the classes with the highest and the lowest value of a metric, which the sentence calls `name`."""
    lowest, highest = min(rows, key=lambda row: row[key]), max(rows, key=lambda row: row[key])
    return (
        f"{name} is highest for “{highest['class']}” ({percent(highest[key])}) and lowest for “{lowest['class']}” "
        f"({percent(lowest[key])})."
    )
