"""RegionDetector: Faster R-CNN and Mask R-CNN, a detector of two steps: regions, then the object in each region."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads, maskrcnn_inference
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import clip_boxes_to_image, remove_small_boxes

from resnets.models.backbone import Backbone
from resnets.models.detection import padding
from resnets.models.detection.output import DetectorOutput
from resnets.models.detection.rcnn.anchors import anchors, inside_image
from resnets.models.detection.rcnn.losses import anchor_losses, box_losses, draw_regions, mask_loss
from resnets.models.detection.rcnn.sampling import generators
from resnets.models.detection.suppression import suppress
from resnets.models.detection.targets import check_targets
from resnets.models.levels import Levels

MIN_SIDE = 1e-2  # of a box, in pixels, as torchvision has it


class Regions(NamedTuple):
    """What the first step gives for a batch of N images, in float32 or float64."""

    maps: list[Tensor]  # from which regions are pooled, (N, C, h, w)
    objectness: Tensor  # (N, A), logits
    deltas: Tensor  # (N, A, 4)
    anchors: Tensor  # (A, 4)
    inside: Tensor  # bool (N, A): False in the padding
    sizes: list[tuple[int, int]]  # height and width of each image before padding
    proposals: list[Tensor]  # of each image, (n, 4)


class RegionDetector(nn.Module):
    """Faster R-CNN (Ren et al. 2015), with `roi_heads.mask_head` Mask R-CNN (He et al. 2017).

    Args:
        backbone: the network; its maps end before the first of `layers_of_regions`.
        levels: of the backbone.
        neck: levels by name -> as many maps, or more, of one width; None to use the levels.
        rpn: torchvision's; of `anchor_generator` only the sizes and ratios are used.
        roi_heads: torchvision's; its pooling modules are `RegionPooling`.
        layers_of_regions: the names of the backbone's layers through which pooled regions go, for C4.

    Attributes:
        nms: how overlapping boxes are suppressed; see `suppression`.
    """

    nms = "hard"

    def __init__(
        self, backbone: Backbone, levels: Levels, neck: nn.Module | None, rpn: RegionProposalNetwork, roi_heads: RoIHeads,
        layers_of_regions: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.backbone = backbone
        self.levels = levels
        self.neck = neck
        self.rpn = rpn
        self.roi_heads = roi_heads
        self.layers_of_regions = tuple(layers_of_regions)

    @property
    def num_classes(self) -> int:
        count: int = self.roi_heads.box_predictor.cls_score.out_features
        return count - 1  # without the background

    def dense(self, x: Tensor) -> tuple[Tensor, ...]:
        """The part without boxes: backbone, neck and the outputs of the region proposal network, a static graph.

        Args:
            x: (N, 3, H, W), padded here to multiples of 32.

        Returns:
            The maps from which regions are pooled, then the objectness (N, anchors, h, w) of each level, the deltas
            (N, 4 * anchors, h, w) of each, and the height and width of x, float32 (N, 2).
        """
        sizes = padding.sizes(x)
        first = self.layers_of_regions[0] if self.layers_of_regions else None
        features = self.backbone.features(padding.pad(x), until=first)
        levels = self.levels(features)
        maps = levels
        if self.neck is not None:
            levels = list(self.neck(OrderedDict((str(i), level) for i, level in enumerate(levels))).values())
            maps = levels[: len(self.roi_heads.box_roi_pool.strides)]
        elif self.layers_of_regions:
            maps = [next(reversed(features.values()))]
        objectness, deltas = self.rpn.head(levels)
        return (*maps, *objectness, *deltas, sizes)

    def objects(self, dense_outputs: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """The objects in each image, from the result of `dense`; see `DetectorOutput`."""
        return self._objects(self._regions(dense_outputs))

    def forward(
        self, images: Tensor | list[Tensor], targets: list[dict[str, Tensor]] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> DetectorOutput:  # fmt: skip
        """The losses if there are targets, which train mode needs, and the objects in eval mode.

        Args:
            images: normalized, (B, 3, H, W), or B tensors (3, h, w) of several sizes.
            targets: for each image "boxes" (n, 4), x1 y1 x2 y2 in pixels, "labels" int64 (n,) from 0, and for Mask R-CNN
                "masks" bool (n, h, w).
            seeds: of the choice of anchors and regions of each image; None: random ones in train mode, 0 in eval mode.
        """
        check_targets(targets, self.num_classes, training=self.training)
        x, sizes = padding.batch(images)
        regions = self._regions((*self.dense(x)[:-1], sizes))
        losses = {} if targets is None else self._losses(regions, targets, seeds)
        return DetectorOutput(losses, [] if self.training else self._objects(regions))

    def _regions(self, dense_outputs: Sequence[Tensor]) -> Regions:
        count = len(self.rpn.anchor_generator.sizes)
        # Boxes and scores are computed in float32 also where the network runs in bfloat16, whose 8 bits cannot hold a position.
        *tensors, sizes = (x if x.dtype == torch.float64 else x.float() for x in dense_outputs)
        maps, objectness, deltas = tensors[: -2 * count], tensors[-2 * count : -count], tensors[-count:]
        grids = [(x.shape[-2], x.shape[-1]) for x in objectness]
        strides = self.levels.strides
        generator = self.rpn.anchor_generator
        boxes = anchors(grids, strides, generator.sizes, generator.aspect_ratios[0], like=deltas[0])
        per_position = generator.num_anchors_per_location()
        image_sizes = [(int(height), int(width)) for height, width in sizes.tolist()]
        inside = torch.stack([inside_image(grids, strides, per_position, size, boxes.device) for size in image_sizes])
        flat, moves = concat_box_prediction_layers(objectness, deltas)
        flat, moves = flat.view(len(sizes), -1), moves.view(len(sizes), -1, 4)
        decoded = self.rpn.box_coder.decode(moves.detach(), [boxes] * len(sizes)).view(len(sizes), -1, 4)
        anchors_of_level = [x[0].numel() for x in objectness]
        proposals, _ = self.rpn.filter_proposals(decoded, flat, image_sizes, anchors_of_level)
        return Regions(list(maps), flat, moves, boxes, inside, image_sizes, proposals)

    def _losses(
        self, regions: Regions, targets: Sequence[dict[str, Tensor]], seeds: Sequence[int] | None
    ) -> dict[str, Tensor]:
        draws = generators(seeds, len(targets), training=self.training)
        losses = anchor_losses(
            self.rpn, regions.anchors, regions.inside, regions.objectness, regions.deltas, targets, draws
        )
        drawn = draw_regions(self.roi_heads, regions.proposals, targets, draws)
        logits, deltas = self._predict_boxes(regions.maps, [image.boxes for image in drawn])
        losses |= box_losses(self.roi_heads, logits, deltas, drawn, targets)
        if self.roi_heads.has_mask():
            losses |= mask_loss(partial(self._predict_masks, regions.maps), drawn, targets)
        return {name: loss.float() for name, loss in losses.items()}

    def _objects(self, regions: Regions) -> list[dict[str, Tensor]]:
        logits, deltas = self._predict_boxes(regions.maps, regions.proposals)
        counts = [len(boxes) for boxes in regions.proposals]
        boxes_by_image = self.roi_heads.box_coder.decode(deltas, regions.proposals).split(counts)
        scores_by_image = logits.softmax(-1).split(counts)
        objects = [
            self._suppress(boxes, scores, size)
            for boxes, scores, size in zip(boxes_by_image, scores_by_image, regions.sizes, strict=True)
        ]
        if self.roi_heads.has_mask():
            masks = maskrcnn_inference(
                self._predict_masks(regions.maps, [found["boxes"] for found in objects]),
                [found["labels"] + 1 for found in objects],
            )
            for found, mask in zip(objects, masks, strict=True):
                found["masks"] = mask[:, 0]
        return objects

    def _suppress(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """The objects among the boxes (n, num_classes + 1, 4) and scores (n, num_classes + 1) of the regions of an image."""
        heads = self.roi_heads
        boxes, scores = clip_boxes_to_image(boxes, size)[:, 1:], scores[:, 1:]  # the background is 0 inside
        rows, labels = (scores > heads.score_thresh).nonzero(as_tuple=True)
        boxes, scores = boxes[rows, labels], scores[rows, labels]
        filled = remove_small_boxes(boxes, min_size=MIN_SIDE)
        boxes, scores, labels = boxes[filled], scores[filled], labels[filled]
        kept, scores = suppress(
            boxes, scores, labels,
            method=self.nms, iou=heads.nms_thresh, score_floor=heads.score_thresh, max_objects=heads.detections_per_img,
        )  # fmt: skip
        return {"boxes": boxes[kept], "scores": scores, "labels": labels[kept]}

    def _predict_boxes(self, maps: Sequence[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        logits, deltas = self.classify(self.roi_heads.box_roi_pool(maps, boxes))
        return logits.to(boxes[0].dtype), deltas.to(boxes[0].dtype)

    def classify(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, num_classes + 1) and deltas (n, 4 * (num_classes + 1)) of pooled regions (n, C, size, size)."""
        for name in self.layers_of_regions:
            pooled = self.backbone.get_submodule(name)(pooled)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits, deltas

    def _predict_masks(self, maps: Sequence[Tensor], boxes: list[Tensor]) -> Tensor:
        """Logits (n, num_classes + 1, m, m) of all boxes; see `DetectorOutput`."""
        heads = self.roi_heads
        return heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(maps, boxes))).to(boxes[0].dtype)
