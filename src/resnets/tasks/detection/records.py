"""What an evaluation keeps of each image: the objects found, the annotated ones, and how they match.

`rows` gives the rows of `Measurements` for some images, and `of` reads them as flat arrays over all images. A row has one tensor
for each image, by name:

    found          float32 (k, 6): x1, y1, x2, y2, score, label; in descending order of the score
    truth          float64 (n, 7): x1, y1, x2, y2, label, crowd (0 or 1), area
    size           int64 (2,): height, width; one tensor (N, 2) for all images
    matches        int32 (k, 3): see `metrics/match_detections.py`
    found_masks, truth_masks, mask_matches    for instance segmentation; masks are uint8 (bytes,), the compressed counts of COCO
                   run-length encodings, separated by spaces

Boxes are in pixels of the original image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.match_detections import Matches, match_boxes, match_masks
from resnets.tasks.measurements import Measurements, Rows

_SEPARATOR = b" "  # the characters of counts are 48 to 111


@dataclass(frozen=True, eq=False)
class Truth:
    """The annotated objects.

    Attributes:
        boxes: float64 (n, 4): x1, y1, x2, y2.
        labels: int64 (n,), from 0.
        crowd: bool (n,): regions in which objects are not annotated one by one; what is found there counts neither as right nor
            as wrong.
        area: float64 (n,): in pixels, as annotated, or else that of the mask or of the box; it decides which objects are small.
        masks: as those of `Detections`, one for each object; None where an object has none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    masks: Sequence[dict[str, Any]] | None = None


class ImageRecord(NamedTuple):
    """One image; `size` is (height, width)."""

    found: Detections
    truth: Truth
    size: tuple[int, int]


def rows(images: Sequence[ImageRecord]) -> dict[str, Rows]:
    """The rows of some images, whose objects are matched here. The found objects of all of them have masks, or of none."""
    found, masks, table = [], [], dict[str, Rows]()
    for each, _, _ in images:
        order = np.argsort(-each.scores, kind="stable")
        found.append(Detections(each.boxes[order], each.scores[order], each.labels[order]))
        masks.append(None if each.masks is None else [each.masks[k] for k in order.tolist()])
    truths = [image.truth for image in images]
    table["found"] = [
        torch.from_numpy(np.column_stack([each.boxes, each.scores, each.labels]).astype(np.float32)) for each in found
    ]
    table["truth"] = [
        torch.from_numpy(np.column_stack([each.boxes, each.labels, each.crowd, each.area]).astype(np.float64))
        for each in truths
    ]
    table["size"] = torch.tensor([image.size for image in images], dtype=torch.int64).reshape(-1, 2)
    pairs = list(zip(found, truths, strict=True))
    table["matches"] = [
        torch.from_numpy(match_boxes(each.boxes, each.labels, truth.boxes, truth.labels, truth.crowd))
        for each, truth in pairs
    ]
    if images and masks[0] is not None:
        table["found_masks"] = [_join(each or ()) for each in masks]
        table["truth_masks"] = [_join(each.masks or ()) for each in truths]
        table["mask_matches"] = [
            torch.from_numpy(_match_masks(mask or (), each.labels, truth))
            for mask, (each, truth) in zip(masks, pairs, strict=True)
        ]
    return table


@dataclass(frozen=True, eq=False)
class Records:
    """The objects of N images in flat arrays: M found, and n annotated ones.

    Attributes:
        found, truth: those of all images, one after the other.
        found_image, truth_image: int64 (M,) and (n,), the index of the image of each.
        matches, mask_matches: of the M found objects; `Matches.object` counts the annotated objects of all images.
        sizes: int64 (N, 2), the height and width of each image.
    """

    found: Detections
    truth: Truth
    found_image: np.ndarray
    truth_image: np.ndarray
    matches: Matches
    mask_matches: Matches | None
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def num_objects(self) -> int:
        """The number of annotated objects that are not crowds."""
        return int((~self.truth.crowd).sum())

    def found_in(self, image: int) -> slice:
        """The found objects of an image."""
        return slice(*np.searchsorted(self.found_image, [image, image + 1]).tolist())

    def truth_in(self, image: int) -> slice:
        """The annotated objects of an image."""
        return slice(*np.searchsorted(self.truth_image, [image, image + 1]).tolist())


def of(measurements: Measurements) -> Records:
    """The rows of `measurements`, made by `rows`, as flat arrays; without masks if an annotated object has none."""
    table = measurements.rows
    found, truth = _flat(table["found"], 6, np.float32), _flat(table["truth"], 7, np.float64)
    counts = [np.array([len(each) for each in table[name]], dtype=np.int64) for name in ("found", "truth")]
    images = [np.repeat(np.arange(len(count)), count) for count in counts]
    starts = np.repeat(np.cumsum(counts[1]) - counts[1], counts[0])
    sizes = np.asarray(table["size"], dtype=np.int64)
    truth_masks = _split(table["truth_masks"], sizes) if "truth_masks" in table else []
    has_masks = "truth_masks" in table and len(truth_masks) == len(truth)
    return Records(
        Detections(
            found[:, :4],
            found[:, 4],
            found[:, 5].astype(np.int64),
            _split(table["found_masks"], sizes) if has_masks else None,
        ),
        Truth(
            truth[:, :4],
            truth[:, 4].astype(np.int64),
            truth[:, 5] > 0,
            truth[:, 6],
            truth_masks if has_masks else None,
        ),
        images[0],
        images[1],
        _matches(table["matches"], starts),
        _matches(table["mask_matches"], starts) if has_masks else None,
        sizes,
    )


def _flat(arrays: Sequence[Tensor] | Tensor, columns: int, dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros((0, columns), dtype), *(np.asarray(each) for each in arrays)])


def _matches(arrays: Sequence[Tensor] | Tensor, starts: np.ndarray) -> Matches:
    hits, ignored, index = _flat(arrays, 3, np.int32).T
    return Matches(hits, ignored, np.where(index >= 0, index + starts, -1))


def _match_masks(masks: Sequence[dict[str, Any]], labels: np.ndarray, truth: Truth) -> np.ndarray:
    if truth.masks is None:
        return np.full((len(labels), 3), -1, np.int32)  # not used: see `of`
    return match_masks(masks, labels, truth.masks, truth.labels, truth.crowd)


def _join(masks: Sequence[dict[str, Any]]) -> Tensor:
    counts = [mask["counts"] for mask in masks]
    joined = _SEPARATOR.join(each.encode() if isinstance(each, str) else each for each in counts)
    return torch.from_numpy(np.frombuffer(joined, np.uint8).copy())


def _split(rows: Sequence[Tensor] | Tensor, sizes: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"size": size, "counts": counts}
        for row, size in zip(rows, sizes.tolist(), strict=True)
        if len(row)
        for counts in np.asarray(row).tobytes().split(_SEPARATOR)
    ]
