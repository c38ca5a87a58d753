from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.error_types import error_types
from resnets.tasks.detection.records import ImageRecord, Records, Truth

HOTCOCO = {
    "class": "Cls",
    "location": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_hotcoco(
    make_records: Callable[..., Records], tmp_path: Path, hotcoco_evaluation: Callable[..., Any], seed: int
) -> None:
    records = make_records(60, seed)

    found = error_types(records, 5)

    expected = hotcoco_evaluation(records, 5, 300, tmp_path).tide_errors()
    assert found.ap == pytest.approx(expected["ap_base"], abs=1e-6)
    for name, other in HOTCOCO.items():
        assert found.gains[name] == pytest.approx(expected["delta_ap"][other], abs=1e-6)
        assert found.counts[name] == expected["counts"][other]


def test_one_of_each(records_of: Callable[[list[ImageRecord]], Records]) -> None:
    boxes = {
        "hit": ([10, 10, 50, 50], 0),
        "duplicate": ([10, 10, 50, 48], 0),
        "class": ([100, 10, 140, 50], 1),
        "location": ([10, 110, 50, 130], 0),
        "both": ([100, 125, 140, 165], 1),
        "background": ([160, 160, 190, 190], 1),
    }
    truth = np.array(
        [[10.0, 10, 50, 50], [100, 10, 140, 50], [10, 100, 50, 150], [100, 100, 140, 150], [1, 170, 9, 190]]
    )
    found = np.array([box for box, _ in boxes.values()], np.float32)
    labels = np.array([label for _, label in boxes.values()])
    scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
    objects = Truth(truth, np.zeros(5, np.int64), np.zeros(5, bool), np.ones(5))
    records = records_of([ImageRecord(Detections(found, scores, labels), objects, (200, 200))])

    counts = error_types(records, 2).counts

    # Two objects would be found if the class or the place were right.
    assert counts == {"class": 1, "location": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 2}


def test_without_objects_there_is_no_ap(make_records: Callable[..., Records]) -> None:
    found = error_types(make_records(1, most=0), 5)

    assert found.ap is None
    assert set(found.gains.values()) == {0.0}
