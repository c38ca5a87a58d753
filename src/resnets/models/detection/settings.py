"""DetectorSettings: what a detector has beside its backbone, as a flat value that TOML and JSON can hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from resnets import check_settings

# The values of each field that is a word.
CHOICES: dict[str, tuple[str, ...]] = {
    "architecture": ("fasterrcnn", "maskrcnn", "yolov3"),
    "layout": ("fpn", "c4", "dc5"),
    "box_loss": ("paper", "giou"),
}
_AT_LEAST_0 = ("box_head_convs",)
# Without effect on the other architecture, or with a single map.
_OF_REGIONS = (
    "layout", "head_norm", "rpn_convs", "anchor_sizes", "anchor_ratios", "train_candidates", "train_proposals", "proposals",
    "proposal_nms_iou", "anchor_samples", "proposal_samples", "pool_size", "aligned", "box_head_convs", "box_head_dim",
    "mask_channels",
)  # fmt: skip
_OF_YOLO = ("anchors", "box_loss", "ignore_iou")
_OF_PYRAMID = ("neck_channels", "box_head_convs")


@dataclass(frozen=True)
class DetectorSettings:
    """Everything that defines a detector beside its backbone and its classes. The defaults are torchvision's Faster R-CNN.

    Attributes:
        architecture: "fasterrcnn" (Ren et al. 2015), "maskrcnn" (He et al. 2017) or "yolov3" (Redmon and Farhadi 2018).
        layout: of Faster and Mask R-CNN. "fpn": a feature pyramid with strides 4 to 64 (Lin et al. 2017). "c4": one map of
            stride 16, whose regions go through the last stage (He et al. 2015, appendix A). "dc5": one map of stride 16,
            which is the last one with dilation in place of its stride.
        neck_channels: channels of each level of the feature pyramid; of YOLOv3's last level, and half and a quarter of them
            of the next two.
        head_norm: whether the convolutions of neck, box head and mask head are followed by batch normalization.
        rpn_convs: 3x3 convolutions before the two outputs of the region proposal network.
        anchor_sizes, anchor_ratios: of Faster and Mask R-CNN: square roots of the areas in pixels, one for each level of a
            pyramid and all for a single map; and heights divided by widths.
        anchors: of YOLOv3: width and height in pixels of each anchor in turn, from the smallest; empty for those of the paper.
        train_candidates, candidates: boxes of each level, by objectness, before non-maximum suppression, in train and in eval
            mode; `candidates` of YOLOv3 are those of an image, by score.
        train_proposals, proposals: regions of each image after it, in train and in eval mode.
        proposal_nms_iou: IoU above which the region with the lower objectness is dropped.
        anchor_samples, proposal_samples: how many of each image are drawn for the losses.
        pool_size: height and width of a pooled region; twice as many for the mask head, whose masks have four times as many.
        aligned: whether the regions are pooled at the exact positions (ROIAlignV2); False as torchvision has it.
        box_head_convs: 3x3 convolutions of the box head; with 0 it has two fully connected layers, else one.
        box_head_dim: units of these layers.
        mask_channels: of the mask head.
        score_floor: least score of an object.
        nms_iou: IoU above which the object with the lower score is dropped, among those of a class.
        max_objects: most objects of an image.
        box_loss: "paper", or "giou" (Rezatofighi et al. 2019) for YOLOv3.
        ignore_iou: of YOLOv3: IoU with an object above which a box without an object is not counted as background.
    """

    architecture: str = "fasterrcnn"
    layout: str = "fpn"
    neck_channels: int = 256
    head_norm: bool = False
    rpn_convs: int = 1
    anchor_sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchors: tuple[float, ...] = ()
    train_candidates: int = 2000
    candidates: int = 1000
    train_proposals: int = 2000
    proposals: int = 1000
    proposal_nms_iou: float = 0.7
    anchor_samples: int = 256
    proposal_samples: int = 512
    pool_size: int = 7
    aligned: bool = False
    box_head_convs: int = 0
    box_head_dim: int = 1024
    mask_channels: int = 256
    score_floor: float = 0.05
    nms_iou: float = 0.5
    max_objects: int = 100
    box_loss: str = "paper"
    ignore_iou: float = 0.7

    def __post_init__(self) -> None:
        self.check_values()
        self.check_together()

    def check_values(self) -> None:
        """Make tuples of lists, and raise UserError for a value of another type or range."""
        # Other fields are those of a task.
        check_settings.check_values(self, _DEFAULTS, CHOICES, at_least_0=_AT_LEAST_0)

    def check_together(self) -> None:
        """Raise UserError for values that do not fit each other, or have no effect: such a setting has its default."""
        layout = "" if self.architecture == "yolov3" else f" with layout='{self.layout}'"
        model = f"architecture='{self.architecture}'{layout}"
        check_settings.check_effects(self, _DEFAULTS, self.without_effect, model)
        rules = (
            (self.architecture == "maskrcnn" and self.layout == "c4",
             "architecture='maskrcnn' needs layout='fpn' or layout='dc5', not 'c4'"),
            (self.layout == "fpn" and self.architecture != "yolov3" and len(self.anchor_sizes) != 5,
             f"anchor_sizes has five values, one for each level of the pyramid; received {self.anchor_sizes}"),
            (not self.anchor_sizes or not self.anchor_ratios, "anchor_sizes and anchor_ratios have at least one value"),
            (len(self.anchors) % 6 != 0, f"anchors are as many widths and heights for each of three levels; received "
             f"{len(self.anchors)} numbers"),
        )  # fmt: skip
        check_settings.check_rules(rules)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The settings that the detector does not use; not `mask_channels` of a Faster R-CNN, which light ones have as well."""
        if self.architecture == "yolov3":
            return _OF_REGIONS
        if self.layout == "fpn":
            return _OF_YOLO
        masks = () if self.has_masks else ("head_norm",)
        return _OF_YOLO + _OF_PYRAMID + masks + (("box_head_dim",) if self.layout == "c4" else ())

    @property
    def has_masks(self) -> bool:
        return self.architecture == "maskrcnn"

    @property
    def is_light(self) -> bool:
        """Whether neck and heads are narrower than usual, which is meant for small images and processors."""
        return self.neck_channels < (512 if self.architecture == "yolov3" else 256)

    @property
    def usual_imgsz(self) -> int:
        """The usual longer side of an image, in pixels."""
        return 320 if self.is_light else 416 if self.architecture == "yolov3" else 640


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(DetectorSettings)}
