"""The outputs of a detector as objects in pixels of the original image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_masks
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks, paste_mask_in_image
from torchvision.ops import nms

from resnets.data.image.placement import Placement


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects that a model found.

    Attributes:
        boxes: float32 (k, 4): x1, y1, x2, y2.
        scores: float32 (k,).
        labels: int64 (k,), from 0.
        masks: COCO run-length encodings of the size of the image, {"size": [height, width], "counts": bytes}; None if the model
            finds no masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: Sequence[dict[str, Any]] | None = None


def to_detections(objects: Mapping[str, Tensor], placement: Placement) -> Detections:
    """The objects of one image, as of `DetectorOutput`, without those that lie in the background around it.

    Their masks become run lengths one after the other, to save memory.
    """
    boxes = placement.to_original(objects["boxes"].double()).float()
    in_image = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    boxes, objects = boxes[in_image], {key: each[in_image] for key, each in objects.items()}
    masks = None
    if "masks" in objects:
        masks = [encode_mask(mask, box, placement.original) for mask, box in zip(objects["masks"], boxes, strict=True)]
    return Detections(boxes.numpy(), objects["scores"].numpy(), objects["labels"].numpy(), masks)


def encode_mask(mask: Tensor, box: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """The run lengths of a mask in an image of `size` (height, width).

    Args:
        mask: (m, m), probabilities within the box; half and more belongs to the object.
        box: (4,), x1, y1, x2, y2.
    """
    height, width = size
    padded, scale = expand_masks(mask[None, None].float(), padding=1)
    left, top, right, bottom = expand_boxes(box[None].float(), scale).to(torch.int64)[0].tolist()
    # The columns of the box only, of which the runs of the whole image follow: it may be large, with many objects.
    start, end = min(max(left, 0), width), min(max(right + 1, 0), width)
    shifted = torch.tensor([left - start, top, right - start, bottom])
    columns = paste_mask_in_image(padded[0, 0], shifted, height, end - start) >= 0.5
    pixels = np.pad(columns.numpy().T.ravel(), 1).astype(np.int8)
    changes = np.flatnonzero(np.diff(pixels)) + start * height
    counts = np.diff([0, *changes, height * width])
    runs = counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts
    encoded = coco_masks.frPyObjects({"size": list(size), "counts": runs.tolist()}, height, width)
    return {"size": list(size), "counts": encoded["counts"]}


def select(found: Detections, keep: np.ndarray) -> Detections:
    """The objects at the indices `keep`, or where a bool array is true."""
    indices = np.flatnonzero(keep) if keep.dtype == bool else keep
    masks = None if found.masks is None else [found.masks[index] for index in indices.tolist()]
    return Detections(found.boxes[indices], found.scores[indices], found.labels[indices], masks)


def suppress_across_classes(found: Detections, iou: float) -> Detections:
    """Without objects whose box overlaps that of an object of any class with a higher score by more than `iou`."""
    kept = nms(torch.from_numpy(found.boxes), torch.from_numpy(found.scores), iou)
    return select(found, kept.numpy())
