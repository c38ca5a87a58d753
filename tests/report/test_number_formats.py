"""Percentages and durations of the report."""

from __future__ import annotations

import math

import pytest

from resnets.report import number_formats


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [
        (0.5, 1, "50.0 %"),
        (1, 1, "100.0 %"),
        (0.9999, 1, "99.9 %"),
        (0.9999, 0, "99 %"),
        (0.0001, 0, "1 %"),
        (0, 0, "0 %"),
    ],
)
def test_percent(fraction, digits, text):
    assert number_formats.percent(fraction, digits) == text


def test_an_unknown_number():
    assert number_formats.percent(None) == number_formats.percent(math.nan) == "unknown"


@pytest.mark.parametrize(("seconds", "text"), [(1.24, "1.2 s"), (59.2, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min")])
def test_duration(seconds, text):
    assert number_formats.duration(seconds) == text
