"""Numbers as the report shows them: counts, percentages and durations."""

import math


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent; below 1 it is never shown as 100 %, and above 0 never as 0 %."""
    if fraction is None or not math.isfinite(fraction):
        return "unknown"
    smallest = 10.0**-digits
    value = 100 * fraction
    if 0 < fraction < 1:
        value = min(max(value, smallest), 100 - smallest)
    return f"{value:.{digits}f} %"


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
