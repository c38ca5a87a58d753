from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from keras.src.utils import dataset_utils

pytestmark = pytest.mark.usefixtures("beside")


def test_the_same_images_are_held_out_as_by_keras(images: Path) -> None:
    train, held = importlib.import_module("image_folder").split_folder(images, side=16, batch=4)
    found, labels, names = dataset_utils.index_directory(
        str(images), labels="inferred", formats=(".png",), shuffle=True, seed=123, verbose=False
    )
    for subset, ours in (("training", train), ("validation", held)):
        paths, classes = dataset_utils.get_training_or_validation_split(found, labels, 0.2, subset)
        assert [str(path) for path in ours.paths] == list(paths)
        assert ours.labels == list(classes)
    assert train.class_names == names


def test_an_epoch_has_every_image_once_with_its_own_label(images: Path) -> None:
    train, held = importlib.import_module("image_folder").split_folder(images, side=16, batch=4)
    batches = [train[index] for index in range(len(train))]
    assert [x.shape for x, _ in batches] == [(4, 16, 16, 3), (4, 16, 16, 3), (2, 16, 16, 3)]
    seen = np.concatenate([y for _, y in batches])
    assert sorted(seen) == sorted(train.labels)
    for x, y in [*batches, held[0]]:
        assert np.array_equal(np.round((x.mean(axis=(1, 2, 3)) - 60) / 60), y)  # how light an image is tells its class
    before = train.order.copy()
    train.on_epoch_end()
    assert not np.array_equal(train.order, before)


def test_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has 0 images"):
        importlib.import_module("image_folder").split_folder(tmp_path / "none", side=16, batch=4)
