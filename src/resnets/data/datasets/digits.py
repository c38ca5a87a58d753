"""The built-in dataset `digits`: scikit-learn's handwritten digits, and their split."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.progress import progress_bar

SIDE = 32  # of the images by default, in pixels
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


@dataclass(frozen=True)
class Digit:
    """One digit: `index` is scikit-learn's, `pixels` (8, 8) uint8, bright on dark."""

    index: int
    pixels: np.ndarray
    label: str
    split: str


def read() -> list[Digit]:
    """The test split of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), as scikit-learn
    ships it: 1,797 digits of 8x8 values from 0 to 16, here scaled to 0 … 255. Every class is split 60 : 20 : 20 in a fixed order.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    splits = {index: split for digit in range(10) for index, split in _splits(np.flatnonzero(labels == digit).tolist())}
    return [
        Digit(index, np.rint(image.reshape(8, 8) * (255 / 16)).astype(np.uint8), str(label), splits[index])
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def write(folder: Path, side: int) -> None:
    """Write `folder/{train,val,test}/DIGIT/INDEX.png`, enlarged with a bicubic filter, which adds no information."""
    for digit in progress_bar(read(), description="writing", unit="images"):
        class_folder = folder / digit.split / digit.label
        class_folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(digit.pixels).resize((side, side), Image.Resampling.BICUBIC)
        image.save(class_folder / f"{digit.index:04}.png")


def _splits(indices: list[int]) -> Iterator[tuple[int, str]]:
    # The order of a hash is the same on every machine and in every version, which the shuffle of a library does not promise.
    ordered = sorted(indices, key=lambda index: hashlib.sha256(f"digits {index}".encode()).digest())
    start = 0.0
    for split, fraction in FRACTIONS.items():
        for index in ordered[round(start * len(ordered)) : round((start + fraction) * len(ordered))]:
            yield index, split
        start += fraction
