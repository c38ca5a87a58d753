"""The images whose maps are in the report of a multi-label run."""

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.tasks.multilabel import heatmap_examples
from resnets.tasks.multilabel.metrics import Labels

NAMES = ("x", "y", "z", "w")


def test_which_labels_are_shown() -> None:
    true = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0]], bool)
    logits = np.array([[-1, 1, 9, 3], [-1, 2, 1, -1], [-1, 3, -1, -1], [-1, -1, -1, -1]], np.float32)
    labels = Labels(logits, true, logits >= 0, np.arange(4))
    samples = [Sample(f"folder/{name}.png", ()) for name in "abcd"]
    wrong = heatmap_examples.mistakes(samples, labels, NAMES, [0, 1, 3])
    assert [(each.path[-5], [caption for _, caption, _ in each.maps]) for each in wrong] == [
        ("a", ["+ z", "+ w"]), ("d", ["– y"])
    ]  # fmt: skip
    right = heatmap_examples.of_classes(samples, labels, NAMES)
    assert [(each.path[-5], each.maps[0][0]) for each in right] == [("b", "y"), ("b", "z")]
