"""Weights of the classes against numbers that others have published or computed."""

import numpy as np
import pytest

from resnets.tasks.segmentation.training.class_weights import class_weights


def test_median_frequency_balancing_is_that_of_its_definition() -> None:
    counts = np.array([[80, 20, 0], [60, 40, 0], [90, 0, 10]])
    frequencies = np.array([230 / 300, 60 / 200, 10 / 100])  # of the pixels of the images that have the class
    expected = 0.3 / frequencies
    np.testing.assert_allclose(class_weights("median_frequency", counts), expected, rtol=1e-12)
    np.testing.assert_allclose(class_weights("sqrt_median_frequency", counts), np.sqrt(expected), rtol=1e-12)


def test_enet_is_bounded_by_its_offset() -> None:
    """Paszke et al. 2016: between 1 and 50."""
    found = class_weights("enet", np.array([[10**9, 1]]))
    assert found[0] == pytest.approx(1 / np.log(2.02))
    assert 50 < found[1] < 51


def test_a_class_without_a_pixel_has_a_weight_of_1() -> None:
    counts = np.array([[80, 20, 0]])
    for kind in ("median_frequency", "sqrt_median_frequency", "enet"):
        found = class_weights(kind, counts)
        assert found[2] == 1
        np.testing.assert_allclose(found[:2], class_weights(kind, counts[:, :2]))
