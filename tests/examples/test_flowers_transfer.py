from __future__ import annotations

import importlib
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import resnets.keras


def test_it_trains_the_head_on_the_weights_of_a_file(few_images, example, tmp_path):
    body = resnets.keras.ResNet50(include_top=False, weights=None)
    body.save_weights(tmp_path / "body.weights.h5")
    words = ("--weights", tmp_path / "body.weights.h5", "--side", "32", "--epochs", "2", "--batch", "5", "--preprocess")
    printed = example("flowers_transfer.py", few_images, *words)
    assert "Epoch 2/2" in printed
    assert "val_accuracy" in printed
    assert "predicted " in printed.splitlines()[-1]
    for name in ("samples.png", "accuracy.png"):
        with Image.open(tmp_path / "flowers" / name) as image:
            image.load()
    model = keras.saving.load_model(tmp_path / "flowers" / "flowers.keras")
    assert model.output_shape == (None, 3)
    assert len(model.trainable_weights) == 4  # of two dense layers
    kept = model.layers[0].get_weights()
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(kept, body.get_weights(), strict=True))


@pytest.mark.usefixtures("beside")
def test_a_folder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["flowers_transfer.py", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=f"'{tmp_path / 'none'}' has 0 images"):
        importlib.import_module("flowers_transfer").main()
