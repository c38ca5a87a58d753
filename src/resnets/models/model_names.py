"""Names of models: networks of the zoo, and detectors and segmenters, which are named after their backbone."""

from __future__ import annotations

from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.models.segmentation import zoo as segmenters


def kind(name: str) -> str | None:
    """ "detector" or "segmenter", by what the name begins with; None for a network, or an unknown name."""
    if detectors.is_detector(name):
        return "detector"
    return "segmenter" if segmenters.is_segmenter(name) else None


def backbone_name(name: str) -> str:
    """The name of the network of a detector or a segmenter; `name` itself if it is of neither."""
    return segmenters.backbone_name(detectors.backbone_name(name))


def list_built_on_networks(pattern: str = "*") -> list[str]:
    """The names of the detectors and segmenters that match a pattern, as of `zoo.list_models`."""
    return [*detectors.list_models(pattern), *segmenters.list_models(pattern)]


def list_models(pattern: str = "*") -> list[str]:
    """The names of the networks that match a pattern such as "cifar_*"; a pattern without a wildcard matches any substring.

    If no network matches, those of the detectors and segmenters, such as "yolov3_*": each is a prefix and the name of a network.
    """
    return zoo.list_models(pattern) or list_built_on_networks(pattern)
