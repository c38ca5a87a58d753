"""Compare segmenters on the same inputs: the logits of all pixels, and the library's own network."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.weights.load_weights import LoadedWeights
from resnets.weights.segmentation.checkpoint import network, segmenter_settings
from resnets.weights.segmentation.library_segmenter import LibrarySegmenter
from resnets.weights.segmentation.load_segmenter import FORMATS
from resnets.weights.verification_result import Comparison


def compare(loaded_files: Sequence[tuple[Path, LoadedWeights]], images: Sequence[Tensor]) -> tuple[Comparison, ...]:
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
    with torch.inference_mode():
        (name, first), *others = ((name, [model(image) for image in images]) for name, model in pipelines.items())
    return tuple(_compare(name, other_name, first, other) for other_name, other in others)


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


def _compare(name: str, other_name: str, first: Sequence[Tensor], other: Sequence[Tensor]) -> Comparison:
    """Differences over all pixels of all images."""
    a, b = (torch.cat([each.flatten(2)[0].T for each in logits]) for logits in (first, other))  # (pixels, K)
    difference = (a.softmax(1) - b.softmax(1)).abs().max().item()
    relative = ((a - b).abs().max() / a.abs().max()).item()
    agreement = (a.argmax(1) == b.argmax(1)).float().mean().item()
    return Comparison(name, other_name, difference, relative, agreement, len(a), unit="pixels")
