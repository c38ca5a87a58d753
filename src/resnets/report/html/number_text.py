"""Numbers of a run in plain words."""

from __future__ import annotations

import math

_NEARLY_ALL = 0.98  # from here on "of 100" hides what differs, and the sentence counts out of 1,000


def headline(low: float, high: float) -> str:
    """What an interval of the accuracy means for someone who will use the model."""
    out_of = 1000 if low >= _NEARLY_ALL or high <= 1 - _NEARLY_ALL else 100
    least, most = round(out_of * low), round(out_of * high)
    number = f"{least}" if least == most else f"{least} to {most}"
    return f"Of {out_of:,} images like these it gets about {number} right."


def trust(error: float, sure: float, right: float) -> str:
    """How far the confidence can be believed.

    Args:
        error: expected calibration error, 0 to 1.
        sure: mean confidence, 0 to 1.
        right: share of right predictions, 0 to 1.
    """
    distance = f"On average the share that is right differs from the confidence by {points(error)}"
    if error <= 0.03:
        return f"The confidence can be taken at its word. {distance}."
    way = "surer than it is right" if sure > right else "more often right than it is sure"
    if error <= 0.08:
        return f"The confidence is roughly right. {distance}; mostly it is {way}."
    return f"Do not take the confidence at its word: the model is {way}. {distance}."


def points(share: float) -> str:
    """A difference of two shares in percentage points."""
    return f"{100 * share:.1f} percentage points"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent; what is not quite all is not written as 100, what is not quite nothing not as 0."""
    if share is None or not math.isfinite(share):
        return "unknown"
    least = 10.0**-digits
    value = 100 * share
    if 0 < share < 1:
        value = min(max(value, least), 100 - least)
    return f"{value:.{digits}f} %"


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
