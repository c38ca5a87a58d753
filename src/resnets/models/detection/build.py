"""The detector of its settings and its backbone's specification."""

from torch import nn

from resnets.models.build_network import build
from resnets.models.detection.rcnn.build import build_rcnn
from resnets.models.detection.settings import DetectorSettings
from resnets.models.detection.yolo.yolov3 import YOLOv3
from resnets.models.spec import ResNetSpec


def build_detector(settings: DetectorSettings, backbone: ResNetSpec, num_classes: int) -> nn.Module:
    """A freshly initialized detector; on the meta device it has shapes only.

    Args:
        settings: of neck and heads.
        backbone: the network; its classification head is not part of the detector.
        num_classes: number of classes of objects, without a background.

    Raises:
        UserError: the layout does not fit the backbone.
    """
    network = build(backbone).backbone()
    if settings.architecture == "yolov3":
        return YOLOv3(network, settings, num_classes)
    return build_rcnn(settings, network, num_classes)
