"""Objects in an image: the class, the box and the mask of each."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import NamedTuple

from resnets.data.datasets.dataset import Sample, nfc
from resnets.data.object_datasets.object_masks import Mask

Box = tuple[float, float, float, float]
FRACTIONS = (1, 1)  # the annotated size where coordinates are fractions of the sides of their image


@dataclass(frozen=True, slots=True)
class Object:
    """One object of an image.

    Attributes:
        label: its class.
        box: x1, y1, x2, y2 in pixels of the upright image (its EXIF orientation applied), as continuous coordinates: the first
            pixel extends from 0 to 1.
        mask: the pixels that belong to it, if they are annotated.
        crowd: it is a region of objects that are not annotated one by one: not learned, and ignored by an evaluation.
        area: in square pixels, where it is annotated; an evaluation by sizes uses it.
    """

    label: str
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    area: float | None = None


class Fault(NamedTuple):
    """An annotation that cannot be read: the number of the object in its file from 1, the kind of the fault, and details."""

    number: int
    kind: str
    note: str


@dataclass(frozen=True, slots=True)
class ImageObjects:
    """The objects of one image: what `Sample.target` is for detection.

    Attributes:
        objects: in the order of the annotations.
        size: (height, width) in pixels of the upright image. A reader gives the annotated one, None, or `FRACTIONS`;
            `open_object_dataset` that of the file, and coordinates for it.
        faults: of the annotations that are not among the objects.
    """

    objects: tuple[Object, ...]
    size: tuple[int, int] | None = None
    faults: tuple[Fault, ...] = ()

    def digest(self) -> str:
        """SHA-256 of the objects with their boxes and masks, by which a split file recognizes a changed annotation."""
        objects = [astuple(each) for each in self.objects]
        return hashlib.sha256(json.dumps(objects, separators=(",", ":"), default=float).encode("utf-8")).hexdigest()


def make_sample(
    path: str,
    image: ImageObjects | None,
    *,
    split: str | None = None,
    group: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Sample:
    """The sample of an image with its objects; `None` for an image that is not annotated."""
    labels = None if image is None else object_labels(image.objects)
    return Sample(path=path, labels=labels, split=split, group=group, columns=dict(columns or {}), target=image)


def object_labels(objects: Iterable[Object]) -> tuple[str, ...]:
    """The class of each object that is not a crowd."""
    return tuple(each.label for each in objects if not each.crowd)


def read_class(value: object) -> str:
    """The name of a class, in Unicode's form NFC; ValueError if it is empty, or no text that can be written as UTF-8."""
    name = nfc(str(value).strip()) if isinstance(value, str | int | float) else ""
    if not name or any("\ud800" <= each <= "\udfff" for each in name):
        raise ValueError(f"{str(value)[:40]!a} is not the name of a class")
    return name


def read_number(value: object) -> float:
    """A finite or infinite number, or NaN, from a value of JSON or a word; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{str(value)[:40]!r} is not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None


def read_box(values: object) -> Box:
    """Four finite numbers; ValueError with what is wrong."""
    if not isinstance(values, list | tuple) or len(values) != 4:
        raise ValueError(f"the box {str(values)[:60]} is not a list of four numbers")
    first, second, third, fourth = map(read_number, values)
    if not all(map(math.isfinite, (first, second, third, fourth))):
        raise ValueError(f"the box {str(values)[:60]} is not finite")
    return first, second, third, fourth
