"""The objects that a detector reports for an image."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_masks

from resnets.tasks.detection.detections import Detections, select, suppress_across_classes


@dataclass(frozen=True)
class DetectedObject:
    """One object.

    Attributes:
        label: its class.
        score: 0 to 1.
        box: x1, y1, x2, y2 in pixels of the image as it is shown, which is after its EXIF orientation.
        rle: the mask as a COCO run-length encoding, {"size": [height, width], "counts": str}; None without masks.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]
    rle: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def mask(self) -> np.ndarray | None:
        """bool (height, width) of the image, decoded anew each time, since hundreds would fill the memory; None without masks."""
        return None if self.rle is None else np.asarray(coco_masks.decode(self.rle)).astype(bool)

    def to_dict(self) -> dict[str, Any]:
        values = {"label": self.label, "score": round(self.score, 5), "box": [round(each, 3) for each in self.box]}
        return values if self.rle is None else values | {"mask": self.rle}


@dataclass(frozen=True)
class Prediction:
    """The objects of one image, in descending order of the score.

    Attributes:
        path: of the image.
        objects: those that reach the score threshold.
        size: height and width of the image as it is shown; None if it cannot be read.
        error: why the image cannot be read; None if it can.
    """

    path: str
    objects: tuple[DetectedObject, ...] = ()
    size: tuple[int, int] | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        objects = [each.to_dict() for each in self.objects]
        return {"path": self.path, "size": self.size and list(self.size), "objects": objects, "error": self.error}

    def to_row(self) -> dict[str, str]:
        """The cells of a CSV table."""
        objects = json.dumps([each.to_dict() for each in self.objects], ensure_ascii=False)
        count = "" if self.error else str(len(self.objects))
        return {"path": self.path, "count": count, "objects": objects, "error": self.error or ""}

    def __str__(self) -> str:
        counts = Counter(each.label for each in self.objects)
        found = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
        return f"{self.path}  {self.error or found or 'nothing'}"


def report(
    path: str,
    found: Detections,
    size: tuple[int, int],
    class_names: Sequence[str],
    *,
    threshold: float,
    agnostic_nms: float | None = None,
) -> Prediction:
    """The prediction for an image of that size, height and width: what reaches the score threshold.

    Args:
        agnostic_nms: the IoU above which, of two objects of any classes, that with the lower score is dropped; None: of none.
    """
    found = select(found, found.scores >= threshold)
    if agnostic_nms is not None:
        found = suppress_across_classes(found, agnostic_nms)
    found = select(found, np.argsort(-found.scores, kind="stable"))
    masks: list[dict[str, Any] | None] = [None] * len(found.scores) if found.masks is None else [*found.masks]
    objects = [
        DetectedObject(class_names[label], float(score), (box[0], box[1], box[2], box[3]), mask and _with_text(mask))
        for label, score, box, mask in zip(found.labels, found.scores, found.boxes.tolist(), masks, strict=True)
    ]
    return Prediction(path, tuple(objects), size)


def _with_text(mask: dict[str, Any]) -> dict[str, Any]:
    return {"size": mask["size"], "counts": mask["counts"].decode("ascii")}
