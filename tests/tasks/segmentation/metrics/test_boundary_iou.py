"""The pixels near the boundaries of classes, against OpenCV's erosion."""

from typing import Any

import cv2
import numpy as np
import pytest

from resnets.tasks.segmentation.metrics import boundary_iou

IGNORE = 255


@pytest.mark.parametrize(("size", "distance"), [((31, 47), 1), ((97, 70), 2), ((40, 64), 5), ((12, 9), 20)])
def test_the_boundary_is_what_opencv_erodes(blobs: Any, size: tuple[int, int], distance: int) -> None:
    """As in the code of Cheng et al. 2021: an erosion by 3x3, repeated, with nothing outside of the image."""
    labels = blobs(3, *size)
    near = boundary_iou.near_boundary(labels, distance)
    for label in np.unique(labels):
        mask = cv2.copyMakeBorder((labels == label).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1].astype(bool)
        np.testing.assert_array_equal(near[labels == label], ~eroded[labels == label], err_msg=str(label))


def test_boundary_iou_of_200_masks_is_that_of_the_erosion(blobs: Any) -> None:
    """By the formula of Cheng et al. 2021, on sums over the images."""
    found, expected = np.zeros((3, 4), int), np.zeros((3, 4), int)
    random = np.random.default_rng(0)
    for seed in range(200):
        size = random.integers(9, 60, 2)
        truth, predicted = blobs(seed, *size, ignored=False), blobs(seed + 1000, *size, ignored=False)
        found += boundary_iou.boundary_counts(truth, predicted, 4).numpy()
        distance = max(round(0.02 * float(np.hypot(*size))), 1)
        for label in range(4):
            masks = [np.pad((each == label).astype(np.uint8), 1) for each in (truth, predicted)]
            eroded = [cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=distance) for mask in masks]
            one, other = (mask - inner for mask, inner in zip(masks, eroded, strict=True))
            expected[:, label] += np.array([(one & other).sum(), one.sum(), other.sum()], int)
    np.testing.assert_array_equal(found, expected)


def test_the_counts_are_of_pixels_near_the_boundary_in_both(blobs: Any) -> None:
    truth, predicted = blobs(1, 97, 131), blobs(2, 97, 131, ignored=False)
    distance = round(0.02 * np.hypot(97, 131))
    seen = np.where(truth == IGNORE, IGNORE, predicted)
    near, near_too = boundary_iou.near_boundary(truth, distance), boundary_iou.near_boundary(seen, distance)
    for label, found in enumerate(boundary_iou.boundary_counts(truth, predicted, 4).numpy().T):
        one, other = near & (truth == label), near_too & (seen == label)
        assert found.tolist() == [(one & other).sum(), one.sum(), other.sum()]
