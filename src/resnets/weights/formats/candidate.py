"""A network that a weights file fits: the result of each format's `candidates`."""

from dataclasses import dataclass

from resnets.data.image.preprocess import Preprocess
from resnets.models.spec import ResNetSpec

_STATISTICS = "ImageNet's mean and standard deviation"
ASSUMED = (f"images are RGB with {_STATISTICS}, as torchvision's own are (`preprocess` changes it)",)


@dataclass(frozen=True)
class Candidate:
    """One network that a file fits."""

    spec: ResNetSpec  # of the network; its name is one of the zoo
    format: str  # "torchvision", "timm", "huggingface", "keras", …
    reasons: tuple[str, ...]  # what the file shows, in sentences
    # What it cannot show and changes the outputs, in sentences; if there are any, the user must name the network.
    doubts: tuple[str, ...] = ()
    preprocess: Preprocess | None = None  # of the format, or None if it is not known
    # What it cannot show, but is the same in all files of the format's own library, in sentences.
    assumed: tuple[str, ...] = ()
