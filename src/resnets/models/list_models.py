"""`list_models`: the names of networks and of detectors."""

from resnets.models import zoo
from resnets.models.detection import zoo as detectors


def list_models(pattern: str = "*") -> list[str]:
    """The names of the networks that match a pattern such as "cifar_*"; a pattern without a wildcard matches any substring.

    If no network matches, those of the detectors, such as "yolov3_*": each is a prefix and the name of a network.
    """
    return zoo.list_models(pattern) or detectors.list_models(pattern)
