"""The losses of Faster and Mask R-CNN, one number for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads, project_masks_on_boxes
from torchvision.models.detection.rpn import RegionProposalNetwork

from resnets.models.detection.rcnn.sampling import sample

Targets = Sequence[dict[str, Tensor]]
BETA = 1 / 9  # of the smooth L1 loss of boxes, as in torchvision: Girshick 2015 with a change at 1/9 in place of 1


def anchor_losses(
    rpn: RegionProposalNetwork, anchors: Tensor, inside: Tensor, objectness: Tensor, deltas: Tensor, targets: Targets,
    draws: Sequence[torch.Generator],
) -> dict[str, Tensor]:  # fmt: skip
    """The losses of the region proposal network (Ren et al. 2015, equation 1), each (B,).

    Args:
        rpn: its matcher, coder of boxes and numbers of samples are used.
        anchors: (A, 4).
        inside: bool (B, A): False for anchors in the padding, which a batch with larger images adds.
        objectness, deltas: outputs, (B, A) and (B, A, 4).
        targets: "boxes" of each image.
        draws: a generator for each image.
    """
    object_terms, box_terms = [], []
    for i, target in enumerate(targets):
        boxes = {"boxes": target["boxes"].to(anchors)}
        (labels,), (matched,) = rpn.assign_targets_to_anchors([anchors], [boxes])
        labels = labels.where(inside[i], -1.0)
        sampler = rpn.fg_bg_sampler
        positive, negative = sample(labels, sampler.batch_size_per_image, sampler.positive_fraction, draws[i])
        sampled = torch.cat([positive, negative])
        wanted = rpn.box_coder.encode_single(matched[positive].to(anchors), anchors[positive])
        count = max(1, len(sampled))
        box_terms.append(F.smooth_l1_loss(deltas[i, positive], wanted, beta=BETA, reduction="sum") / count)
        object_terms.append(
            F.binary_cross_entropy_with_logits(objectness[i, sampled], labels[sampled].to(anchors), reduction="sum")
            / count
        )
    return {"objectness": torch.stack(object_terms), "proposal_box": torch.stack(box_terms)}


class Samples(NamedTuple):
    """The regions of an image that were drawn: boxes (n, 4), labels (n,), 0 for background, and the matched objects (n,)."""

    boxes: Tensor
    labels: Tensor
    matched: Tensor


def draw_regions(
    roi_heads: RoIHeads, proposals: Sequence[Tensor], targets: Targets, draws: Sequence[torch.Generator]
) -> list[Samples]:
    """Regions for the losses of the heads, drawn from the proposals and the boxes of the objects."""
    drawn = []
    for region, target, draw in zip(proposals, targets, draws, strict=True):
        boxes = target["boxes"].to(region)
        regions = torch.cat([region, boxes])
        # Inside the detector, class 0 is the background.
        (matched,), (labels,) = roi_heads.assign_targets_to_proposals([regions], [boxes], [target["labels"] + 1])
        sampler = roi_heads.fg_bg_sampler
        chosen = torch.cat(sample(labels, sampler.batch_size_per_image, sampler.positive_fraction, draw)).sort()[0]
        drawn.append(Samples(regions[chosen], labels[chosen], matched[chosen]))
    return drawn


def box_losses(
    roi_heads: RoIHeads, logits: Tensor, deltas: Tensor, drawn: Sequence[Samples], targets: Targets
) -> dict[str, Tensor]:
    """The losses of Fast R-CNN (Girshick 2015, equation 1), each (B,).

    Args:
        roi_heads: its coder of boxes is used.
        logits, deltas: outputs for all drawn regions, (n, num_classes + 1) and (n, 4 * (num_classes + 1)).
        drawn: the regions of each image.
        targets: "boxes" of each image.
    """
    counts = [len(image.labels) for image in drawn]
    class_terms, box_terms = [], []
    for image, target, scores, moves in zip(drawn, targets, logits.split(counts), deltas.split(counts), strict=True):
        count = max(1, len(image.labels))
        class_terms.append(F.cross_entropy(scores, image.labels, reduction="sum") / count)
        positive = torch.where(image.labels > 0)[0]
        objects = target["boxes"].to(image.boxes)[image.matched[positive]]
        wanted = roi_heads.box_coder.encode_single(objects, image.boxes[positive])
        predicted = moves.unflatten(1, (-1, 4))[positive, image.labels[positive]]
        box_terms.append(F.smooth_l1_loss(predicted, wanted, beta=BETA, reduction="sum") / count)
    return {"classification": torch.stack(class_terms), "box": torch.stack(box_terms)}


def mask_loss(
    predict: Callable[[list[Tensor]], Tensor], drawn: Sequence[Samples], targets: Targets
) -> dict[str, Tensor]:
    """The binary cross-entropy of the mask of the right class (He et al. 2017, section 3), mean over regions, (B,).

    Args:
        predict: boxes of each image -> logits (n, num_classes + 1, m, m) for all of them.
        drawn: the regions of each image.
        targets: "masks" of each image, bool (n, h, w).
    """
    for target in targets:  # torchvision's pooling reads past the masks without an error
        assert len(target["masks"]) == len(target["boxes"]), "as many masks as boxes"
    positive = [torch.where(image.labels > 0)[0] for image in drawn]
    counts = [len(index) for index in positive]
    boxes = [image.boxes[index] for image, index in zip(drawn, positive, strict=True)]
    if not any(counts):  # One region of background, so that the term has a gradient, which is 0.
        logits = predict([image.boxes[: i == 0] for i, image in enumerate(drawn)])
        return {"mask": (logits.sum() * 0).expand(len(drawn))}
    terms = []
    for i, logits in enumerate(predict(boxes).split(counts)):
        image, index = drawn[i], positive[i]
        chosen = logits[torch.arange(len(index), device=index.device), image.labels[index]]  # (n, m, m)
        if not len(index):
            terms.append(chosen.sum())
            continue
        wanted = project_masks_on_boxes(targets[i]["masks"], boxes[i], image.matched[index], logits.shape[-1])
        terms.append(F.binary_cross_entropy_with_logits(chosen, wanted.to(chosen)))
    return {"mask": torch.stack(terms)}
