"""The values that `predict` returns."""

from dataclasses import replace

from resnets.tasks.detection.prediction import DetectedObject, Prediction


def test_predictions_with_masks_can_be_in_a_set() -> None:
    found = DetectedObject("cat", 0.5, (0.0, 0.0, 1.0, 1.0), {"size": [1, 1], "counts": "01"})
    other = replace(found, rle={"size": [1, 1], "counts": "1"})
    assert {found, replace(found), other} == {found, other}
    assert len({Prediction("a.png", (each,), (1, 1)) for each in (found, replace(found), other)}) == 2
