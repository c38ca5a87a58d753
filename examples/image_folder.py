"""Batches for Keras, on any of its backends, from a folder with one folder of images for each class.

`keras.utils.image_dataset_from_directory` needs TensorFlow or Grain; this splits and resizes the images in the same way
without either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


class Images(keras.utils.PyDataset):
    """Batches of float32 images (N, side, side, 3) of 0 to 255 in RGB, and integer labels (N,)."""

    def __init__(
        self, paths: list[Path], labels: list[int], class_names: list[str], side: int, batch: int, shuffle: bool = False
    ) -> None:
        super().__init__()
        self.paths, self.labels, self.class_names = paths, labels, class_names
        self.side, self.batch, self.shuffle = side, batch, shuffle
        self.transform: Callable[[Any], Any] | None = None  # applied to every batch
        self.random = np.random.default_rng(0)
        self.order = np.arange(len(paths))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        indices = self.order[index * self.batch : (index + 1) * self.batch]
        images = np.stack([load_image(self.paths[k], self.side) for k in indices])
        if self.transform is not None:
            images = keras.ops.convert_to_numpy(self.transform(images))
        return images, np.array([self.labels[k] for k in indices])

    def on_epoch_end(self) -> None:
        if self.shuffle:
            self.random.shuffle(self.order)


def load_image(path: Path, side: int) -> np.ndarray:
    """float32 (side, side, 3), stretched bilinearly without antialiasing, as the tutorial's loader does."""
    pixels = keras.utils.img_to_array(keras.utils.load_img(path), dtype="float32")
    return keras.ops.convert_to_numpy(keras.ops.image.resize(pixels, (side, side), data_format="channels_last"))


def split_folder(
    folder: Path, side: int, batch: int, val_fraction: float = 0.2, seed: int = 123
) -> tuple[Images, Images]:
    """Training and validation images: the same as image_dataset_from_directory selects with this seed."""
    class_names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    samples = [
        (path, label)
        for label, name in enumerate(class_names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    count = int(val_fraction * len(samples))
    if count == 0:
        sys.exit(f"'{folder}' has {len(samples)} images in folders of classes; a fifth is held out, so 5 are needed.")
    np.random.RandomState(seed).shuffle(samples)
    train, val = samples[:-count], samples[-count:]
    return (
        Images([p for p, _ in train], [k for _, k in train], class_names, side, batch, shuffle=True),
        Images([p for p, _ in val], [k for _, k in val], class_names, side, batch),
    )
