"""YOLOv3 (Redmon and Farhadi 2018) on a residual network: three scales, independent logistic classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from resnets.models.backbone import Backbone
from resnets.models.detection import padding
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.suppression import suppress
from resnets.models.detection.targets import check_targets
from resnets.models.detection.yolo.anchors import COCO_ANCHORS
from resnets.models.detection.yolo.grid import YOLOGrid, decode, flatten_predictions, make_grid
from resnets.models.detection.yolo.loss import image_losses
from resnets.models.detection.yolo.neck import YOLONeck
from resnets.models.levels import Levels

STRIDES = (8, 16, 32)


class YOLOv3(nn.Module):
    """Detector with one prediction for each anchor of each cell at strides 8, 16 and 32.

    Args:
        backbone: the residual network.
        settings: `anchors`, `neck_channels`, `box_loss`, `ignore_iou`, and the limits on what is returned.
        num_classes: K.

    Attributes:
        nms: how overlapping boxes are suppressed; see `suppression`.
    """

    anchors: Tensor
    nms = "hard"

    def __init__(self, backbone: Backbone, settings: DetectorSettings, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = Levels(backbone, STRIDES)
        self.settings = settings
        self.num_classes = num_classes
        anchors = torch.tensor(settings.anchors or COCO_ANCHORS, dtype=torch.float32, device="cpu").view(
            len(STRIDES), -1, 2
        )
        self.anchors_per_level = anchors.shape[1]
        self.register_buffer("anchors", anchors, persistent=False)
        self.neck = YOLONeck(self.levels.channels, settings.neck_channels, self.anchors_per_level, num_classes)

    def forward(
        self,
        images: Tensor | list[Tensor],
        targets: list[dict[str, Tensor]] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> DetectorOutput:
        """The losses with targets, which train mode needs, and in eval mode the objects.

        Nothing is drawn at random, so that `seeds` has no effect.
        """
        check_targets(targets, self.num_classes, training=self.training)
        padded, sizes = padding.batch(images)
        raw, grid = self._predict(padded)
        losses: dict[str, Tensor] = {}
        if targets is not None:
            losses = self._losses(raw, grid, sizes, targets)
        objects = [] if self.training else self.objects(self._dense(raw, grid, sizes))
        return DetectorOutput(losses, objects)

    def dense(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and sizes of all positions, the static part of the network.

        Args:
            x: (n, 3, H, W), normalized.

        Returns:
            Boxes (n, A, 4), x1, y1, x2, y2 in pixels; scores (n, A, K) in 0..1, 0 for positions in the padding; and sizes (n, 2),
            height and width of x.
        """
        padded, sizes = padding.batch(x)
        return self._dense(*self._predict(padded), sizes)

    def raw_predictions(self, x: Tensor) -> Tensor:
        """What the network computes for images as of `dense`, before sigmoid and exp: (n, A, 5 + K)."""
        return self._predict(padding.pad(x))[0]

    def objects(self, dense_outputs: tuple[Tensor, ...]) -> list[dict[str, Tensor]]:
        """The objects of each image from the result of `dense`: boxes, scores and labels, the highest score first."""
        return [self._suppress(boxes, scores, size) for boxes, scores, size in zip(*dense_outputs, strict=True)]

    def _predict(self, padded: Tensor) -> tuple[Tensor, YOLOGrid]:
        """The numbers of all positions (n, A, 5 + K), before sigmoid and exp, and their grid."""
        predictions = self.neck(self.levels(self.backbone.features(padded)))
        shapes = [(prediction.shape[2], prediction.shape[3]) for prediction in predictions]
        return flatten_predictions(predictions, self.anchors_per_level), make_grid(shapes, STRIDES, self.anchors)

    def _dense(self, raw: Tensor, grid: YOLOGrid, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = raw.to(grid.corners.dtype)
        inside = (grid.corners < sizes[:, None].flip(2)).all(2, keepdim=True)  # (n, A, 1)
        scores = raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid() * inside
        return decode(raw, grid.corners, grid.strides, grid.anchors), scores, sizes

    def _losses(
        self, raw: Tensor, grid: YOLOGrid, sizes: Tensor, targets: list[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        raw = raw.to(grid.corners.dtype)
        ignore_iou, box_loss = self.settings.ignore_iou, self.settings.box_loss
        terms = [
            image_losses(each, target["boxes"], target["labels"], grid, size, ignore_iou=ignore_iou, box_loss=box_loss)
            for each, target, size in zip(raw, targets, sizes, strict=True)
        ]
        return {name: torch.stack([term[name] for term in terms]) for name in terms[0]}

    def _suppress(self, boxes: Tensor, scores: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Non-maximum suppression for each class, of the boxes (A, 4) and scores (A, K) of an image."""
        rows, labels = (scores > self.settings.score_floor).nonzero(as_tuple=True)
        scores = scores[rows, labels]
        scores, order = scores.sort(descending=True, stable=True)
        order, scores = order[: self.settings.candidates], scores[: self.settings.candidates]
        height, width = size.tolist()
        boxes, labels = clip_boxes_to_image(boxes[rows[order]], (height, width)), labels[order]
        filled = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores, labels = boxes[filled], scores[filled], labels[filled]
        limits = self.settings
        kept, scores = suppress(
            boxes, scores, labels,
            method=self.nms, iou=limits.nms_iou, score_floor=limits.score_floor, max_objects=limits.max_objects,
        )  # fmt: skip
        return {"boxes": boxes[kept], "scores": scores, "labels": labels[kept]}
