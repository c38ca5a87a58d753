"""The segmenters by name: a prefix for the architecture, and the name of a network of the zoo as the backbone."""

from __future__ import annotations

from resnets.errors import UserError
from resnets.models import near_names, zoo
from resnets.models.segmentation.prefixes import PREFIXES, names, prefix_of
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.models.spec import ResNetSpec


def list_models(pattern: str = "*") -> list[str]:
    """The names of the segmenters that match a pattern such as "unet_*"; one without a wildcard matches any substring."""
    return zoo.match_names(names(zoo.entries()), pattern)


def is_segmenter(name: str) -> bool:
    """Whether a name is that of a segmenter, whatever its backbone."""
    return prefix_of(name) is not None


def backbone_name(name: str) -> str:
    """The name of the network of a segmenter; `name` itself if it is none of a segmenter."""
    return get(name)[1].name if is_segmenter(name) else name


def get(name: str) -> tuple[SegmenterSettings, ResNetSpec]:
    """The settings of a segmenter and the specification of its backbone; an unknown name is a UserError."""
    prefix = prefix_of(name)
    network = name.removeprefix(prefix or "")
    if prefix is None or network not in zoo.entries():
        raise UserError(near_names.describe_unknown(name, zoo.specs()))
    return PREFIXES[prefix], zoo.get_spec(network)
