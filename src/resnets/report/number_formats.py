"""Numbers as the report shows them: counts, percentages and durations."""

import math
from collections.abc import Sequence


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent; below 1 it is never shown as 100 %, and above 0 never as 0 %."""
    if fraction is None or not math.isfinite(fraction):
        return "unknown"
    smallest = 10.0**-digits
    value = 100 * fraction
    if 0 < fraction < 1:
        value = min(max(value, smallest), 100 - smallest)
    return f"{value:.{digits}f} %"


def percent_interval(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    """`93.1 %`, or `93.1 % [91.0, 94.8]`; a dash where nothing was measured."""
    if value is None:
        return "–"
    text = f"{100 * value:.1f} %"
    if interval is None or None in interval:
        return text
    low, high = (100 * (end or 0.0) for end in interval)
    return f"{text} [{low:.1f}, {high:.1f}]"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int) -> str:
    """A whole number with thousands separated."""
    return f"{number:,}"
