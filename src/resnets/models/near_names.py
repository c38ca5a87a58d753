"""What to say of a name that no network of the zoo, no detector and no segmenter has."""

import re
from collections.abc import Iterable, Mapping

from resnets.message_format import suggestion
from resnets.models.detection import prefixes as detectors
from resnets.models.segmentation import prefixes as segmenters
from resnets.models.spec import ResNetSpec

_LIBRARY = re.compile(r"(.*[/:])?((torchvision|timm|keras|models|applications|resnet)\.)*((gluon|tv|tf|fb)_)?")
_V1_5 = re.compile(r"_?v1[.]?5|_?v1b")  # names of NVIDIA and Gluon for torchvision's networks


def describe_unknown(name: str, networks: Mapping[str, ResNetSpec]) -> str:
    """A message on a name that is none of these networks, with the nearest of them, or of the models that are built on them."""
    built: list[str] = []
    for kind, prefixes in (("detector", detectors), ("segmenter", segmenters)):
        names = prefixes.names(networks)
        built += names
        if name in names:
            takers = "create_model(), `resnets summary` and `resnets train`"
            return f"'{name}' is the name of a {kind}, not of a network alone: {takers} take it."
        if prefix := prefixes.prefix_of(name):
            ends = [each.removeprefix(prefix) for each in names if each.startswith(prefix)]
            end = name.removeprefix(prefix)
            hint = _suggest(_near(end, ends), prefix) or suggestion(end, ends, {each: prefix + each for each in ends})
            return f"There is no {kind} '{name}'.{hint or f' `resnets models {prefix}` lists them all.'}"
    known = {_letters(each): each for each in built}
    near = _near(name, networks) or known.get(_letters(name))
    hint = _suggest(near) or suggestion(name.lower(), [*networks, *built])
    return f"There is no network '{name}'.{hint or ' `resnets models` lists them all.'}"


def _suggest(near: str | None, prefix: str = "") -> str:
    return f" Did you mean '{prefix}{near}'?" if near else ""


def _near(name: str, networks: Iterable[str]) -> str | None:
    """The network that other libraries call `name`: "torchvision.models.resnet50", "ResNet-50", "resnet20", "resnetv2_50"."""
    word = _LIBRARY.sub("", _V1_5.sub("", name.lower()), count=1).partition(".")[0]
    word, preactivated = _letters(word), bool(re.search("preact|v2", word))
    by_letters = {_letters(known): known for known in networks}
    second = re.sub(r"(?:preact)?resnet(?:v2)?(\d+)(?:v2)?", r"resnet\1v2", word) if preactivated else word
    for candidate in (word, second, f"cifar{word.replace('cifar', '')}"):
        if candidate in by_letters:
            return by_letters[candidate]
    starts = (known for letters, known in by_letters.items() if len(word) > len("resnet") and letters.startswith(word))
    return next(starts, None)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))
