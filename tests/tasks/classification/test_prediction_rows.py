"""Rows of predictions for other programs."""

from __future__ import annotations

import csv
import io
import json

from resnets.tasks.classification.prediction import Prediction
from resnets.tasks.classification.prediction_rows import CsvRows, JsonRows

GOOD = Prediction("a, b.jpg", "cat", 0.75, (("cat", 0.75), ("dog, wet", 0.25)))
BAD = Prediction("broken.jpg", error="is empty (0 bytes).")


def test_csv() -> None:
    file = io.StringIO()
    rows = CsvRows(file, top_k=2)
    rows.write(GOOD)
    rows.write(BAD)
    good, bad = csv.DictReader(io.StringIO(file.getvalue()))
    assert good == {
        "path": "a, b.jpg", "label": "cat", "probability": "0.750000", "error": "", "label_2": "dog, wet",
        "probability_2": "0.250000",
    }  # fmt: skip
    assert {key for key, value in bad.items() if value} == {"path", "error"}
    assert bad["error"] == "is empty (0 bytes)."


def test_as_many_pairs_of_columns_as_classes_are_named() -> None:
    file = io.StringIO()
    CsvRows(file, top_k=1)
    assert file.getvalue() == "path,label,probability,error\n"


def test_json_lines() -> None:
    file = io.StringIO()
    for prediction in (GOOD, BAD, Prediction("two\nlines\udcff.jpg", "x", 1.0, (("x", 1.0),))):
        JsonRows(file).write(prediction)
    good, bad, odd = map(json.loads, file.getvalue().splitlines())
    assert good["top"] == [{"label": "cat", "probability": 0.75}, {"label": "dog, wet", "probability": 0.25}]
    assert (good["path"], good["label"], good["probability"], good["error"]) == ("a, b.jpg", "cat", 0.75, None)
    assert (bad["label"], bad["probability"], bad["top"], bad["error"]) == (None, None, [], "is empty (0 bytes).")
    assert odd["path"] == "two\nlines\udcff.jpg"
