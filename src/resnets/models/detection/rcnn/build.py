"""Faster R-CNN and Mask R-CNN of their settings, composed of torchvision's parts."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from resnets.errors import UserError
from resnets.models.backbone import Backbone
from resnets.models.detection.rcnn.detector import RegionDetector
from resnets.models.detection.rcnn.region_pooling import RegionPooling
from resnets.models.detection.settings import DetectorSettings
from resnets.models.dilation import dilate
from resnets.models.levels import Levels

PYRAMID = (4, 8, 16, 32)  # strides from which regions are pooled; a level of stride 64 is for proposals only
SINGLE = 16  # stride of the one map of C4 and DC5
# The most positives among the samples.
POSITIVE_ANCHORS = 0.5  # Ren et al. 2015, section 3.1.3
POSITIVE_REGIONS = 0.25  # Girshick 2015, section 2.3


def build_rcnn(settings: DetectorSettings, network: Backbone, num_classes: int) -> RegionDetector:
    """The detector of these settings on a backbone; a UserError if the layout does not fit it."""
    if settings.layout == "fpn":
        return _pyramid_detector(settings, network, num_classes)
    return _single_map_detector(settings, network, num_classes)


def _pyramid_detector(settings: DetectorSettings, network: Backbone, num_classes: int) -> RegionDetector:
    """Lin et al. 2017, Feature Pyramid Networks for Object Detection, section 4."""
    extra = 2 * PYRAMID[-1]
    has_extra = extra in network.feature_strides.values()
    levels = Levels(network, (*PYRAMID, extra) if has_extra else PYRAMID)
    channels = settings.neck_channels
    neck = FeaturePyramidNetwork(
        levels.channels, channels, None if has_extra else LastLevelMaxPool(),
        nn.BatchNorm2d if settings.head_norm else None,
    )  # fmt: skip
    rpn = _region_proposals(settings, channels, [(size,) for size in settings.anchor_sizes])
    pooling = partial(RegionPooling, PYRAMID, aligned=settings.aligned)
    if settings.box_head_convs:
        box_head: nn.Module = FastRCNNConvFCHead(
            (channels, settings.pool_size, settings.pool_size), [channels] * settings.box_head_convs,
            [settings.box_head_dim], nn.BatchNorm2d if settings.head_norm else None,
        )  # fmt: skip
    else:
        box_head = TwoMLPHead(channels * settings.pool_size**2, settings.box_head_dim)
    heads = _heads(settings, pooling, channels, box_head, settings.box_head_dim, num_classes)
    return RegionDetector(network, levels, neck, rpn, heads)


def _single_map_detector(settings: DetectorSettings, network: Backbone, num_classes: int) -> RegionDetector:
    """C4 (He et al. 2015, appendix A) or DC5 (Dai et al. 2017, Deformable Convolutional Networks, section 4.1)."""
    names = list(network.feature_strides)
    last = next((name for name in reversed(names) if network.feature_strides[name] == SINGLE), names[-1])
    if last == names[-1]:
        raise UserError(
            f"layout='{settings.layout}' needs a feature map of stride {SINGLE} and stages after it; the backbone has "
            f"strides {list(network.feature_strides.values())}. Use layout='fpn'."
        )
    later = names[names.index(last) + 1 :]
    layers_of_regions: list[str] = []
    if settings.layout == "c4":
        layers_of_regions = [*later, *(["final"] if hasattr(network, "final") else [])]
        box_head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        box_features = network.feature_channels[later[-1]]
    else:
        network = dilate(network, later)
        box_head = TwoMLPHead(network.feature_channels[later[-1]] * settings.pool_size**2, settings.box_head_dim)
        box_features = settings.box_head_dim
    levels = Levels(network, (SINGLE,))
    rpn = _region_proposals(settings, levels.channels[0], [settings.anchor_sizes])
    pooling = partial(RegionPooling, (SINGLE,), aligned=settings.aligned)
    heads = _heads(settings, pooling, levels.channels[0], box_head, box_features, num_classes)
    return RegionDetector(network, levels, None, rpn, heads, layers_of_regions)


def _region_proposals(
    settings: DetectorSettings, channels: int, sizes: list[tuple[float, ...]]
) -> RegionProposalNetwork:
    """torchvision's region proposal network; `sizes` of the anchors on each level."""
    generator = AnchorGenerator(tuple(sizes), (settings.anchor_ratios,) * len(sizes))
    return RegionProposalNetwork(
        generator,
        RPNHead(channels, generator.num_anchors_per_location()[0], settings.rpn_convs),
        fg_iou_thresh=0.7, bg_iou_thresh=0.3,
        batch_size_per_image=settings.anchor_samples, positive_fraction=POSITIVE_ANCHORS,
        pre_nms_top_n={"training": settings.train_candidates, "testing": settings.candidates},
        post_nms_top_n={"training": settings.train_proposals, "testing": settings.proposals},
        nms_thresh=settings.proposal_nms_iou,
    )  # fmt: skip


def _heads(
    settings: DetectorSettings, pooling: partial[RegionPooling], channels: int, box_head: nn.Module, box_features: int,
    num_classes: int,
) -> RoIHeads:  # fmt: skip
    """torchvision's heads on maps of `channels`, with `box_features` from the box head."""
    masks: dict[str, nn.Module] = {}
    if settings.has_masks:
        width = settings.mask_channels
        norm = nn.BatchNorm2d if settings.head_norm else None
        masks = {
            "mask_roi_pool": pooling(size=2 * settings.pool_size),
            "mask_head": MaskRCNNHeads(channels, [width] * 4, dilation=1, norm_layer=norm),
            "mask_predictor": MaskRCNNPredictor(width, width, num_classes + 1),
        }
    return RoIHeads(
        pooling(size=settings.pool_size), box_head, FastRCNNPredictor(box_features, num_classes + 1),
        fg_iou_thresh=0.5, bg_iou_thresh=0.5,
        batch_size_per_image=settings.proposal_samples, positive_fraction=POSITIVE_REGIONS, bbox_reg_weights=None,
        score_thresh=settings.score_floor, nms_thresh=settings.nms_iou, detections_per_img=settings.max_objects,
        **masks,
    )  # fmt: skip
