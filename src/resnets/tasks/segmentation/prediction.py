"""The class of each pixel that a segmenter predicts for an image."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from resnets.report.number_formats import percent
from resnets.tasks.segmentation import upsample

SHOWN = 4  # classes in a line


@dataclass(frozen=True, eq=False)
class Prediction:
    """The class of each pixel of one image.

    Attributes:
        path: of the image.
        class_names: of the model.
        mask: uint8 (height, width) of the image as it is shown, which is after its EXIF orientation: the index of the class
            of each pixel; None if the image cannot be read.
        error: why the image cannot be read; None if it can.
        logits: (K, h, w), of the decoder; None for an image that was computed in windows.
    """

    path: str
    class_names: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    error: str | None = None
    logits: Tensor | None = field(default=None, repr=False)
    align_corners: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the image; None if it cannot be read."""
        return None if self.mask is None else (self.mask.shape[0], self.mask.shape[1])

    @cached_property
    def pixels(self) -> dict[str, int]:
        """The number of pixels of each class."""
        if self.mask is None:
            return {}
        # A few rows at a time: `bincount` makes int64 of what it counts.
        counts = sum(np.bincount(rows.ravel(), minlength=256) for rows in _in_rows(self.mask))
        return dict(zip(self.class_names, np.asarray(counts).tolist(), strict=False))

    @property
    def areas(self) -> dict[str, float]:
        """The part of the image that each class has, without those that have none, in descending order."""
        total = max(sum(self.pixels.values()), 1)
        found = sorted(self.pixels.items(), key=lambda each: -each[1])
        return {name: count / total for name, count in found if count}

    def probabilities(self) -> np.ndarray | None:
        """float16 (K, height, width): those of the classes at each pixel; None for an image that was computed in windows."""
        if self.logits is None or self.size is None:
            return None
        return upsample.probabilities(self.logits, self.size, align_corners=self.align_corners)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the area of each class, as a part of the image."""
        areas = {name: round(area, 6) for name, area in self.areas.items()}
        return {"path": self.path, "size": self.size and list(self.size), "areas": areas, "error": self.error}

    def class_masks(self) -> list[dict[str, Any]]:
        """The pixels of each class that has any, in the order of `areas`: its `label`, and a COCO run-length encoding, `size` and
        `counts`.
        """
        from faster_coco_eval.core import mask as coco_masks  # here, since it imports OpenCV, where that is installed

        assert self.mask is not None
        by_columns = np.asfortranarray(self.mask)  # the order of the encoding
        found = []
        for name in self.areas:
            pixels = by_columns == self.class_names.index(name)
            rle = coco_masks.encode(pixels.view(np.uint8))
            found.append({"label": name, "size": list(rle["size"]), "counts": rle["counts"].decode("ascii")})
        return found

    def to_row(self) -> dict[str, str]:
        """The cells of a CSV table."""
        areas = "" if self.error else json.dumps(self.to_dict()["areas"], ensure_ascii=False)
        return {"path": self.path, "areas": areas, "error": self.error or ""}

    def __str__(self) -> str:
        found = [f"{name} {percent(area)}" for name, area in self.areas.items()]
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return f"{self.path}  {self.error or ', '.join(found[:SHOWN]) + more}"


def _in_rows(mask: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(mask, max(mask.size // 2**22, 1))
