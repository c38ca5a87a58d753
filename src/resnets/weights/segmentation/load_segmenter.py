"""A file of torchvision's or of segmentation_models_pytorch's segmenters as a checkpoint, with what was assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from resnets.message_format import format_list
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.segmentation import smp, torchvision

FORMATS: dict[str, ModuleType] = {"torchvision": torchvision, "smp": smp}  # by the name that `convert` takes


def format_of(tensors: Mapping[str, Tensor]) -> str | None:
    """The key of `FORMATS` whose names these are."""
    return next((name for name, module in FORMATS.items() if module.recognizes(tensors)), None)


def load_segmenter(
    path: Path, library: str, tensors: Mapping[str, Tensor], class_names: Sequence[str], settings: Mapping[str, Any]
) -> tuple[Checkpoint, list[str]]:
    """The tensors of a file as a checkpoint, and notes on what was found and assumed, in sentences.

    Args:
        library: a key of `FORMATS`.
        class_names: in the order of the outputs; () for the library's, or numbers.
        settings: of `SegmenterSettings`, for what the tensors do not show.

    Raises:
        UserError: the tensors are those of another segmenter, or do not fit the names or the settings.
    """
    module = FORMATS[library]
    tensors = module.renamed(tensors)
    found = module.find(tensors).with_settings(settings)
    names = tuple(class_names) or module.default_class_names(found.num_classes)
    checkpoint = found.to_checkpoint(tensors, module.PREPROCESS, names)
    notes = [
        f"{path}: {module.LIBRARY}, {found.settings.architecture} on {found.spec.name}. `prefix='{module.BODY}'` takes the "
        "backbone alone.",
        *(f"assumed: {sentence}" for sentence in module.assumptions(found)),
    ]
    if not class_names:
        notes.append(f"class names: {format_list(names, 4)}; `class_names` gives others")
    return checkpoint, notes
