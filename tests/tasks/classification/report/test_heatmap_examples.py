"""The images whose heat maps stand in a report."""

from __future__ import annotations

import numpy as np

from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.report import heatmap_examples


def test_the_worst_mistakes_and_the_median_of_the_right_images() -> None:
    true = np.array([0, 0, 0, 0, 1, 1, 2])
    logits = np.zeros((7, 3), np.float32)
    logits[:4, 0] = [1, 3, 2, -4]  # the third of the right ones has the median; the fourth is wrong
    logits[4:6, 2] = [1, 6]  # both wrong, the second worse
    logits[6, 2] = 1
    found = Predictions(tuple("abcdefg"), true, logits, ("x", "y", "z"))
    wrong = heatmap_examples.mistakes(found)
    assert [example.path for example in wrong] == ["f", "d", "e"]
    assert [name for name, _, _ in wrong[0].maps] == ["z", "y"]
    right = heatmap_examples.of_classes(found)
    assert [(example.path, [name for name, _, _ in example.maps]) for example in right] == [("c", ["x"]), ("g", ["z"])]
