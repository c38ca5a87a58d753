"""A folder with one folder of images for each class, as batches for Keras on any of its backends.

`keras.utils.image_dataset_from_directory` needs TensorFlow or Grain; this holds out the same images and makes them the
same size in the same way, without either.
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
    """Batches of float32 images (N, side, side, 3) of 0 to 255 in RGB, and whole numbers (N,) for their classes."""

    def __init__(
        self, paths: list[Path], labels: list[int], names: list[str], side: int, batch: int, shuffle: bool = False
    ) -> None:
        super().__init__()
        self.paths, self.labels, self.names = paths, labels, names
        self.side, self.batch, self.shuffle = side, batch, shuffle
        self.change: Callable[[Any], Any] | None = None  # what is done to every batch
        self.random = np.random.default_rng(0)
        self.order = np.arange(len(paths))
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        images = np.stack([image(self.paths[k], self.side) for k in chosen])
        if self.change is not None:
            images = keras.ops.convert_to_numpy(self.change(images))
        return images, np.array([self.labels[k] for k in chosen])

    def on_epoch_end(self) -> None:
        if self.shuffle:
            self.random.shuffle(self.order)


def image(path: Path, side: int) -> np.ndarray:
    """float32 (side, side, 3), stretched bilinearly without a filter before, as the tutorials' loader does."""
    pixels = keras.utils.img_to_array(keras.utils.load_img(path), dtype="float32")
    return keras.ops.convert_to_numpy(keras.ops.image.resize(pixels, (side, side), data_format="channels_last"))


def split(folder: Path, side: int, batch: int, held_out: float = 0.2, seed: int = 123) -> tuple[Images, Images]:
    """The images to learn from and those held out: the same ones as image_dataset_from_directory takes with this seed."""
    names = sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    found = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    count = int(held_out * len(found))
    if count == 0:
        sys.exit(f"'{folder}' has {len(found)} images in folders of classes; a fifth is held out, so 5 are needed.")
    np.random.RandomState(seed).shuffle(found)
    learn, held = found[:-count], found[-count:]
    return (
        Images([p for p, _ in learn], [k for _, k in learn], names, side, batch, shuffle=True),
        Images([p for p, _ in held], [k for _, k in held], names, side, batch),
    )
