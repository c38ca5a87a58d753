"""What a reader finds in a folder: images with the files of their masks, and what the values in these mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from resnets.data.mask_datasets.mask_classes import Color


class ImageMaskPair(NamedTuple):
    """An image and the file of its mask; None if there is none."""

    image: str
    mask: str | None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class ClassTable:
    """The name of each value of a mask, or of each color as a number of 24 bits, in the order of the classes.

    Attributes:
        written: the value of each class in files of predictions, where it is not that of the masks.
    """

    names: Mapping[int, str]
    colors: Mapping[str, Color] = field(default_factory=dict)
    ignored: Sequence[int] = ()
    color_coded: bool = False
    written: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskLayout:
    """The images of a dataset with the files of their masks.

    Attributes:
        table: what the values mean, if the layout or a file of the dataset says it.
        unmatched: masks that belong to no image.
    """

    root: Path
    images: Sequence[ImageMaskPair]
    table: ClassTable | None = None
    unmatched: Sequence[str] = ()
    warnings: Sequence[str] = ()
