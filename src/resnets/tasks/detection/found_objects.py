"""The outputs of a detector as objects in pixels of the original image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_masks
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import nms

from resnets.data.image.placement import Placement
from resnets.tasks.detection.records import Found


def found_objects(objects: Mapping[str, Tensor], placement: Placement) -> Found:
    """The objects of one image, as of `DetectorOutput`; their masks become run lengths one after the other, to save memory."""
    boxes = placement.to_original(objects["boxes"].double()).float()
    masks = None
    if "masks" in objects:
        masks = [encode_mask(mask, box, placement.original) for mask, box in zip(objects["masks"], boxes, strict=True)]
    return Found(boxes.numpy(), objects["scores"].numpy(), objects["labels"].numpy(), masks)


def encode_mask(mask: Tensor, box: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """The run lengths of a mask in an image of `size` (height, width).

    Args:
        mask: (28, 28), probabilities within the box; half and more belongs to the object.
        box: (4,), x1, y1, x2, y2.
    """
    pasted = paste_masks_in_image(mask[None, None].float(), box[None].float(), size)[0, 0] >= 0.5
    encoded = coco_masks.encode(np.asfortranarray(pasted.numpy().astype(np.uint8)))
    counts = encoded["counts"]
    return {"size": list(size), "counts": counts.encode() if isinstance(counts, str) else counts}


def select(found: Found, keep: np.ndarray) -> Found:
    """The objects at the indices `keep`, or where a bool array is true."""
    indices = np.flatnonzero(keep) if keep.dtype == bool else keep
    masks = None if found.masks is None else [found.masks[index] for index in indices.tolist()]
    return Found(found.boxes[indices], found.scores[indices], found.labels[indices], masks)


def suppress_across_classes(found: Found, iou: float) -> Found:
    """Without objects whose box overlaps that of an object of any class with a higher score by more than `iou`."""
    kept = nms(torch.from_numpy(found.boxes), torch.from_numpy(found.scores), iou)
    return select(found, kept.numpy())
