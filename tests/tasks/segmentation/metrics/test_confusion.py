"""The counts of the pixels of an image, against scikit-learn's confusion matrix and OpenCV's erosion."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from resnets.tasks.segmentation.metrics import confusion

IGNORE = 255


def blobs(seed: int, height: int, width: int, classes: int = 4, *, ignored: bool = True) -> np.ndarray:
    """A mask of areas of some pixels, uint8 (height, width), with ignored ones."""
    random = np.random.default_rng(seed)
    coarse = random.integers(classes, size=(height // 6 + 1, width // 6 + 1)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((6, 6), np.uint8))[:height, :width]
    if ignored:
        mask[random.random((height, width)) < 0.02] = IGNORE
    return mask


def test_cells_are_those_of_the_confusion_matrix() -> None:
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


@pytest.mark.parametrize(("size", "distance"), [((31, 47), 1), ((97, 70), 2), ((40, 64), 5), ((12, 9), 20)])
def test_the_border_is_what_opencv_erodes(size: tuple[int, int], distance: int) -> None:
    """As in the code of Cheng et al. 2021: an erosion by 3x3, repeated, with nothing outside of the image."""
    labels = blobs(3, *size)
    near = confusion.near_border(labels, distance)
    for label in np.unique(labels):
        mask = cv2.copyMakeBorder((labels == label).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1].astype(bool)
        np.testing.assert_array_equal(near[labels == label], ~eroded[labels == label], err_msg=str(label))


def test_border_counts_are_of_pixels_near_the_border_in_both() -> None:
    truth, predicted = blobs(1, 97, 131), blobs(2, 97, 131, ignored=False)
    distance = round(0.02 * np.hypot(97, 131))
    seen = np.where(truth == IGNORE, IGNORE, predicted)
    near, near_too = confusion.near_border(truth, distance), confusion.near_border(seen, distance)
    for label, found in enumerate(confusion.border_counts(truth, predicted, 4).numpy().T):
        one, other = near & (truth == label), near_too & (seen == label)
        assert found.tolist() == [(one & other).sum(), one.sum(), other.sum()]


def test_what_is_predicted_for_ignored_pixels_changes_nothing() -> None:
    truth, predicted = blobs(1, 50, 60), blobs(2, 50, 60, ignored=False)
    other = np.where(truth == IGNORE, np.random.default_rng(0).integers(4, size=truth.shape), predicted).astype(
        np.uint8
    )
    assert (other != predicted).any()
    for count in (confusion.image_cells, confusion.border_counts):
        assert count(truth, predicted, 4).equal(count(truth, other, 4))


def test_an_image_without_labels_counts_nothing() -> None:
    truth = np.full((8, 8), IGNORE, np.uint8)
    assert len(confusion.image_cells(truth, np.zeros_like(truth), 4)) == 0
    assert not confusion.border_counts(truth, np.zeros_like(truth), 4).any()
