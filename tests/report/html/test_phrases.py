"""Sentences and number formats of the report."""

from __future__ import annotations

import math

import pytest

from resnets.report.html import phrases


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.926, 0.963, "Of 100 images like these it gets about 93 to 96 right."),
        (0.951, 0.9537, "Of 100 images like these it gets about 95 right."),
        (0.9915, 0.9989, "Of 1,000 images like these it gets about 992 to 999 right."),
        (0.0, 0.01, "Of 1,000 images like these it gets about 0 to 10 right."),
        (0.376, 0.964, "Of 100 images like these it gets about 38 to 96 right."),
    ],
)
def test_headline(low, high, sentence):
    assert phrases.accuracy_sentence(low, high) == sentence


def test_calibration_sentence_names_the_direction():
    assert phrases.calibration_sentence(0.012, 0.9, 0.91).startswith("The model is well calibrated.")
    assert "slightly overconfident" in phrases.calibration_sentence(0.06, 0.95, 0.89)
    assert "slightly underconfident" in phrases.calibration_sentence(0.06, 0.83, 0.89)
    assert phrases.calibration_sentence(0.2, 0.95, 0.75).startswith("The model is overconfident:")
    assert "20.0 percentage points" in phrases.calibration_sentence(0.2, 0.95, 0.75)


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
    assert phrases.percent(fraction, digits) == text


def test_what_is_unknown():
    assert phrases.percent(None) == phrases.percent(math.nan) == "unknown"


@pytest.mark.parametrize(("seconds", "text"), [(1.24, "1.2 s"), (59.2, "59 s"), (61, "1 min 1 s"), (3700, "1 h 1 min")])
def test_duration(seconds, text):
    assert phrases.duration(seconds) == text
