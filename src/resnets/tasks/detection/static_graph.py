"""The dense part of a detector as a static graph, and how close the objects of two backends are."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.message_format import pluralize
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.padding import padded_size

MAX_PIXELS = 4 * 800 * 1088  # of the padded images that are computed together: their feature maps are large
SAME_IOU = 0.9  # of the boxes of an object by two backends
TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}  # of a score
MIN_SCORE = 0.3  # lower ones come and go with rounding, at the last place of the list


class _Dense(nn.Module):
    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Any:
        return self.detector.dense(x)


def static_graph(model: Any) -> StaticGraph:
    """Backbone, neck and dense outputs are static; the boxes are made beside them in float32."""
    return StaticGraph(
        model,
        _Dense(model),
        lambda dense: DetectorOutput({}, model.objects(dense)),
        compare,
        TOLERANCE,
        largest_batch,
        exact=False,
    )


def largest_batch(height: int, width: int) -> int:
    """How many images of this size are computed together at most."""
    rows, columns = padded_size(height, width)
    return max(MAX_PIXELS // (rows * columns), 1)


def compare(outputs: DetectorOutput, reference: DetectorOutput) -> Agreement:
    """The largest difference of the score of an object; one that the other does not have differs by its score."""
    differences = [0.0]
    for found, expected in zip(outputs.objects, reference.objects, strict=True):
        for one, other in ((found, expected), (expected, found)):
            differences += _differences(one, other).tolist()
    count, worst = len(reference.objects), max(differences)
    return Agreement(count, worst, f"on {pluralize(count, 'image')} scores within {worst:.4f}", quantity="a score")


def _differences(found: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    """For each found object, the distance of its score from that of the same object of the other."""
    certain = found["scores"] >= MIN_SCORE
    boxes, scores, labels = (found[key][certain] for key in ("boxes", "scores", "labels"))
    if not len(other["boxes"]) or not len(boxes):
        return scores
    same = (box_iou(boxes, other["boxes"]) >= SAME_IOU) & (labels[:, None] == other["labels"][None])
    gaps = torch.where(same, (scores[:, None] - other["scores"][None]).abs(), scores[:, None])
    return gaps.amin(1)
