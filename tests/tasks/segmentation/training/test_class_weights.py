"""Weights of the classes against numbers that others have published or computed."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resnets.data.mask_datasets import open_mask_dataset
from resnets.tasks.segmentation.training.class_weights import class_weights
from resnets.tasks.segmentation.training.targets import count_class_pixels


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


def test_median_frequency_balancing_of_camvid_is_near_that_of_segnet(
    shared: Callable[[str], Path], tmp_path: Path
) -> None:
    """The weights in SegNet's segnet_train.prototxt, for masks that were resized in another way, relative to that of Pavement.

    SignSymbol has 9.64 there, and 3.5 by the definition.
    """
    published = {
        "Sky": 0.2595, "Building": 0.1826, "Pole": 4.5640, "Road": 0.1417, "Pavement": 0.9051, "Tree": 0.3826, "Fence": 1.8418,
        "Car": 0.6823, "Pedestrian": 6.2478, "Bicyclist": 7.3614,
    }  # fmt: skip
    with tarfile.open(shared("data/camvid.tar")) as file:
        file.extractall(tmp_path, filter="data")
    dataset = open_mask_dataset.read(str(tmp_path / "CamVid"))
    counts = count_class_pixels(dataset.subset("train"), dataset.class_names)
    found = dict(zip(dataset.class_names, class_weights("median_frequency", counts), strict=True))
    for name, weight in published.items():
        assert found[name] / found["Pavement"] == pytest.approx(weight / published["Pavement"], rel=0.12), name
