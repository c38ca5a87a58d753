"""Sentences and number formats of the report."""

from __future__ import annotations

import math

_NEARLY_ALL = 0.98  # from here on the sentence counts out of 1,000 instead of 100


def accuracy_sentence(low: float, high: float) -> str:
    """What an interval of the accuracy means for someone who will use the model."""
    out_of = 1000 if low >= _NEARLY_ALL or high <= 1 - _NEARLY_ALL else 100
    fewest, most = round(out_of * low), round(out_of * high)
    number = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return f"Of {out_of:,} images like these it gets about {number} right."


def calibration_sentence(error: float, confidence: float, accuracy: float) -> str:
    """How well the model is calibrated, in words.

    Args:
        error: expected calibration error, 0 to 1.
        confidence: mean confidence, 0 to 1.
        accuracy: fraction of right predictions, 0 to 1.
    """
    distance = f"On average the accuracy differs from the confidence by {percentage_points(error)}"
    if error <= 0.03:
        return f"The model is well calibrated. {distance}."
    direction = "overconfident" if confidence > accuracy else "underconfident"
    if error <= 0.08:
        return f"The model is roughly calibrated. {distance}; it is slightly {direction}."
    return f"The model is {direction}: its confidences are poorly calibrated. {distance}."


def percentage_points(difference: float) -> str:
    """A difference of two fractions in percentage points."""
    return f"{100 * difference:.1f} percentage points"


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


def quote(name: str) -> str:
    """A class name in quotes; isolates keep a right-to-left name from reordering the sentence around it."""
    return f"“\u2068{name}\u2069”"
