"""The detectors by name: a prefix for the architecture, and the name of a network of the zoo as the backbone."""

from __future__ import annotations

from resnets.errors import UserError
from resnets.models import near_names, zoo
from resnets.models.detection.prefixes import PREFIXES, TORCHVISION, fits, names, prefix_of
from resnets.models.detection.settings import DetectorSettings
from resnets.models.spec import ResNetSpec


def list_models(pattern: str = "*") -> list[str]:
    """The names of the detectors that match a pattern such as "yolov3_*"; one without a wildcard matches any substring."""
    return zoo.match_names(names(zoo.specs()), pattern)


def is_detector(name: str) -> bool:
    """Whether a name is that of a detector, whatever its backbone."""
    return prefix_of(name) is not None


def backbone_name(name: str) -> str:
    """The name of the network of a detector; `name` itself if it is none of a detector."""
    return get(name)[1].name if is_detector(name) else name


def get(name: str) -> tuple[DetectorSettings, ResNetSpec]:
    """The settings of a detector and the specification of its backbone; an unknown name is a UserError."""
    if name in TORCHVISION:
        return TORCHVISION[name], zoo.get_spec("resnet50")
    prefix = prefix_of(name)
    network = name.removeprefix(prefix or "")
    if prefix is None or network not in zoo.entries():
        raise UserError(near_names.describe_unknown(name, zoo.specs()))
    settings, backbone = PREFIXES[prefix], zoo.get_spec(network)
    if not fits(settings, backbone):
        raise UserError(
            f"The network '{network}' has no stage behind a map of stride 16, which '{prefix}' needs; use 'fasterrcnn_"
            f"{network}'."
        )
    return settings, backbone
