"""Which rows of the layers of a detector are of classes, for weights of a detector with other classes."""

from torch import nn

from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.tasks.adapt import ClassRows

# By the ends of the names of layers, of Faster and Mask R-CNN.
CLASS_ROWS = {
    "box_predictor.cls_score": ClassRows(no_class=1),
    "box_predictor.bbox_pred": ClassRows(no_class=4, per_class=4),
    "mask_predictor.mask_fcn_logits": ClassRows(no_class=1),
}


def class_rows(model: nn.Module, layer: str) -> ClassRows | None:
    """The rows of a layer; None if they are not of classes."""
    if isinstance(model, YOLOv3):  # of each anchor four numbers of the box, and the objectness
        return ClassRows(model.anchors_per_level, no_class=5) if layer.endswith("prediction") else None
    return next((rows for end, rows in CLASS_ROWS.items() if layer.endswith(end)), None)
