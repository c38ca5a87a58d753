"""Crops of the worst errors, and the table of what is probably not annotated."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.tasks.detection import records as record_rows
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.error_types import NAMES, error_types
from resnets.tasks.detection.records import ImageRecord, Records, Truth
from resnets.tasks.detection.report import error_crops
from resnets.tasks.measurements import Measurements

CLASSES = ["cat", "dog"]


def one_of_each(tmp_path: Path) -> tuple[list[Sample], Records]:
    """An image with an error of each type, and one of two boxes where nothing is annotated."""
    truth = Truth(
        boxes=np.array([[10, 10, 50, 50], [60, 10, 100, 50], [110, 10, 150, 50], [10, 60, 50, 100.0]]),
        labels=np.array([0, 0, 0, 1]), crowd=np.zeros(4, bool), area=np.full(4, 1600.0),
    )  # fmt: skip
    found = Detections(
        boxes=np.array([
            [10, 10, 50, 50], [11, 10, 51, 50],  # right, and once more
            [60, 10, 100, 50],  # wrong class
            [110, 10, 150, 28],  # place not exact
            [60, 10, 75, 50],  # both
            [160, 100, 190, 118], [100, 100, 140, 118],  # nothing is there
        ], np.float32),
        scores=np.array([0.99, 0.6, 0.8, 0.7, 0.65, 0.9, 0.3], np.float32), labels=np.array([0, 0, 1, 0, 1, 0, 1]),
    )  # fmt: skip
    Image.fromarray(np.full((120, 200, 3), 90, np.uint8)).save(tmp_path / "one.png")
    rows = record_rows.rows([ImageRecord(found, truth, (120, 200))])
    return [Sample(str(tmp_path / "one.png"))], record_rows.of(Measurements(rows))


def test_a_sheet_of_each_type(tmp_path: Path) -> None:
    samples, records = one_of_each(tmp_path)
    errors = error_types(records, 2)
    assert [
        int(errors.counts[name]) for name in ("duplicate", "class", "location", "both", "background", "missed")
    ] == [1, 1, 1, 1, 2, 1]
    assert error_crops.worst(records, errors, "background", 0.2)[0] == 1  # in the order of the scores
    drawn = error_crops.draw_all(samples, records, errors, 0.5, CLASSES, tmp_path)
    assert drawn == list(NAMES)
    assert {path.name for path in tmp_path.glob("errors_*")} == {error_crops.figure_name(name) for name in NAMES}
    assert error_crops.write_unannotated(samples, records, errors, 0.5, CLASSES, tmp_path) == 1
    (row,) = csv.DictReader((tmp_path / error_crops.UNANNOTATED).open())
    assert row == {
        "path": samples[0].path,
        "class": "cat",
        "score": "0.9",
        "x1": "160.0",
        "y1": "100.0",
        "x2": "190.0",
        "y2": "118.0",
    }


def test_without_errors_nothing_is_written(tmp_path: Path) -> None:
    boxes, labels = np.array([[10, 10, 50, 50], [60, 10, 100, 50.0]]), np.array([0, 1])
    found = Detections(boxes.astype(np.float32), np.array([0.9, 0.8], np.float32), labels)
    truth = Truth(boxes, labels, np.zeros(2, bool), np.full(2, 1600.0))
    records = record_rows.of(Measurements(record_rows.rows([ImageRecord(found, truth, (120, 200))])))
    samples, errors = [Sample("a.png")], error_types(records, 2)
    assert error_crops.draw_all(samples, records, errors, 0.5, CLASSES, tmp_path) == []
    assert error_crops.write_unannotated(samples, records, errors, 0.5, CLASSES, tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
