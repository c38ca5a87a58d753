"""Compare segmenters on the same inputs: the logits of all pixels, and the library's own network."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.weights.load_weights import LoadedWeights
from resnets.weights.segmentation.checkpoint import network, segmenter_settings
from resnets.weights.segmentation.library_segmenter import LibrarySegmenter
from resnets.weights.segmentation.load_segmenter import FORMATS
from resnets.weights.verification_result import Comparison


def compare(loaded_files: Sequence[tuple[Path, LoadedWeights]], images: Iterable[Tensor]) -> tuple[Comparison, ...]:
    """The other file, and the library's own network of each file of another library, beside the first file.

    Args:
        images: each (1, 3, H, W), whose sides are multiples of 32, which segmentation_models_pytorch requires.

    Raises:
        UserError: the segmenters have different numbers of classes, or the library is not installed.
    """
    classes = [len(loaded.checkpoint.class_names) for _, loaded in loaded_files]
    if len(set(classes)) > 1:
        (a, _), (b, _) = loaded_files
        raise UserError(f"'{a}' and '{b}' cannot be compared: {classes[0]} and {classes[1]} classes.")
    pipelines: dict[str, Callable[[Tensor], Tensor]] = {}
    for path, loaded in loaded_files:
        pipelines[f"{path.name} by resnets"] = network(loaded.checkpoint).float()
        if loaded.weights_file is not None:
            pipelines |= _of_library(path, loaded)
    (name, first), *others = pipelines.items()
    differences = [_Differences() for _ in others]
    with torch.inference_mode():
        for image in images:
            logits = first(image)
            for found, (_, model) in zip(differences, others, strict=True):
                found.add(logits, model(image))
    return tuple(found.comparison(name, other_name) for found, (other_name, _) in zip(differences, others, strict=True))


def _of_library(path: Path, loaded: LoadedWeights) -> dict[str, Callable[[Tensor], Tensor]]:
    """The library's own network with the tensors of the file, by a name for messages."""
    assert loaded.weights_file is not None
    module, checkpoint = FORMATS[loaded.format], loaded.checkpoint
    settings = segmenter_settings(checkpoint)
    rules = module.RULES[settings.architecture]
    found = LibrarySegmenter(settings, checkpoint.spec, len(checkpoint.class_names), rules)
    try:
        model = module.reference_model(loaded.weights_file.tensors, found)
        version = importlib.metadata.version(module.DISTRIBUTION)
    except ImportError as error:
        raise UserError(f"{module.LIBRARY} is not installed: pip install {module.DISTRIBUTION}") from error
    return {f"{path.name} by {module.LIBRARY} {version}": model}


class _Differences:
    """Those of two networks over the pixels of all images; the logits of one image are kept at a time."""

    def __init__(self) -> None:
        self.of_probabilities = self.of_logits = self.largest_logit = 0.0
        self.agreeing = self.pixels = 0

    def add(self, first: Tensor, other: Tensor) -> None:
        """Count the logits of an image, each (1, K, H, W)."""
        self.of_probabilities = max(self.of_probabilities, _largest(first.softmax(1) - other.softmax(1)))
        self.of_logits = max(self.of_logits, _largest(first - other))
        self.largest_logit = max(self.largest_logit, _largest(first))
        self.agreeing += int((first.argmax(1) == other.argmax(1)).sum())
        self.pixels += first[0, 0].numel()

    def comparison(self, name: str, other_name: str) -> Comparison:
        relative, agreement = self.of_logits / self.largest_logit, self.agreeing / self.pixels
        return Comparison(name, other_name, self.of_probabilities, relative, agreement, self.pixels, unit="pixels")


def _largest(values: Tensor) -> float:
    return values.abs().max().item()
