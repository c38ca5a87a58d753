"""Suppression: of several boxes of one object, the one with the highest score is kept, or the others lose score."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou

from resnets.errors import UserError
from resnets.message_format import suggestion

# "hard": boxes that overlap one with a higher score are dropped. The others are soft NMS (Bodla et al. 2017, Soft-NMS -
# Improving Object Detection With One Line of Code): their score is multiplied by exp(-IoU^2 / 0.5), or with "soft-linear" by
# 1 - IoU from the threshold on.
METHODS = ("hard", "soft", "soft-linear")
SIGMA = 0.5  # of the Gaussian, as in section 4 of the paper

Detector = TypeVar("Detector", bound=nn.Module)


def check_method(nms: str) -> None:
    """Raise UserError for an unknown method."""
    if nms not in METHODS:
        raise UserError(f"`nms` is one of {', '.join(METHODS)}; received '{nms}'.{suggestion(nms, METHODS)}")


def with_method(detector: Detector, nms: str) -> Detector:
    """The same detector, with the same tensors, and another method of suppression."""
    check_method(nms)
    other: Any = copy.copy(detector)
    other.nms = nms
    return other


def suppress(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, method: str, iou: float, score_floor: float, max_objects: int
) -> tuple[Tensor, Tensor]:
    """The boxes of an image that are kept, by descending score, and their scores. Each class is on its own.

    Args:
        boxes: (n, 4), x1, y1, x2, y2.
        iou: of two boxes, above which the one with the lower score is dropped or, with "soft-linear", loses score.
        score_floor: a box whose score falls to it is dropped.
        max_objects: most boxes that are kept.

    Returns:
        Indices, int64 (k,), and scores (k,).
    """
    if method == "hard":
        kept = batched_nms(boxes, scores, labels, iou)[:max_objects]
        return kept, scores[kept]
    left, kept_scores = scores.clone(), scores.clone()
    chosen = list[int]()
    while len(chosen) < min(max_objects, len(boxes)):
        best = int(left.argmax())
        if left[best] <= score_floor:
            break
        chosen.append(best)
        kept_scores[best] = left[best]
        overlap = box_iou(boxes[best][None], boxes)[0]
        factor = torch.exp(-(overlap**2) / SIGMA) if method == "soft" else 1 - overlap * (overlap >= iou)
        left = torch.where(labels == labels[best], left * factor, left)
        left[best] = -torch.inf
    kept = torch.tensor(chosen, dtype=torch.int64, device=boxes.device)
    return kept, kept_scores[kept]
