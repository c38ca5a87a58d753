"""What a file of another program can be: the answer of each format's `guesses`."""

from __future__ import annotations

from dataclasses import dataclass

from resnets.data.image.preprocess import Preprocess
from resnets.models.spec import ResNetSpec


@dataclass(frozen=True)
class Guess:
    """One network that the file fits.

    Attributes:
        spec: the network; its name is one of the zoo.
        format: "torchvision", "timm", "huggingface", "keras", …
        reasons: a sentence for each thing that the file shows.
        doubts: a sentence for each thing that it cannot show and that changes the result; where there is one, the person
            names the network.
        preprocess: what the format does with images, or None where that is not known.
        assumed: a sentence for each thing that the file cannot show and that the format's own files have always alike.
    """

    spec: ResNetSpec
    format: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    assumed: tuple[str, ...] = ()
