"""The counts of the pixels of an image, against scikit-learn's confusion matrix."""

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from resnets.tasks.segmentation.metrics import boundary_iou, confusion

IGNORE = 255


def test_cells_are_those_of_the_confusion_matrix(blobs: Any) -> None:
    pairs = [(blobs(seed, 31, 47), blobs(seed + 9, 31, 47, 5, ignored=False)) for seed in range(3)]
    cells = [confusion.image_cells(*pair, 5) for pair in pairs]
    expected = []
    for truth, predicted in pairs:
        labeled = truth != IGNORE
        expected.append(confusion_matrix(truth[labeled], predicted[labeled], labels=range(5)))
    np.testing.assert_array_equal(confusion.matrix(cells, 5), sum(expected))
    counts = confusion.class_counts(cells, 5)
    assert counts.dtype == np.int64
    for found, whole in zip(counts, expected, strict=True):
        np.testing.assert_array_equal(found, [whole.diagonal(), whole.sum(1), whole.sum(0)])


def test_what_is_predicted_for_ignored_pixels_changes_nothing(blobs: Any) -> None:
    truth, predicted = blobs(1, 50, 60), blobs(2, 50, 60, ignored=False)
    other = np.where(truth == IGNORE, np.random.default_rng(0).integers(4, size=truth.shape), predicted).astype(
        np.uint8
    )
    assert (other != predicted).any()
    for count in (confusion.image_cells, boundary_iou.boundary_counts):
        assert count(truth, predicted, 4).equal(count(truth, other, 4))


def test_an_image_without_labels_counts_nothing() -> None:
    truth = np.full((8, 8), IGNORE, np.uint8)
    assert len(confusion.image_cells(truth, np.zeros_like(truth), 4)) == 0
    assert not boundary_iou.boundary_counts(truth, np.zeros_like(truth), 4).any()
