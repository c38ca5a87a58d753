"""timm's `config.json`: the content for a checkpoint, and its `pretrained_cfg` from and to `Preprocess`."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.weights import provenance
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.readers import json_file

LAST = {False: "fc", True: "head.fc"}  # name of the last layer, by pre-activation
FILES = (".safetensors", ".pth", ".pt", ".bin", ".tar")  # suffixes of a single file


def preprocessor(path: Path) -> Preprocess | None:
    """The preprocessing in `config.json` beside the tensors, or None if there is none that can be expressed."""
    try:
        cfg = _pretrained_cfg(path)
        _, height, width = cfg["input_size"]
        common = {
            "size": (height, width), "interpolation": cfg.get("interpolation", "bilinear"), "mean": tuple(cfg["mean"]),
            "std": tuple(cfg["std"]), "color": "gray" if len(cfg["mean"]) == 1 else "rgb",
        }  # fmt: skip
        crop = float(cfg.get("crop_pct") or 0.875)
        if cfg.get("crop_mode", "center") == "squash" and crop == 1:
            return Preprocess(**common, resize="stretch")
        if cfg.get("crop_mode", "center") == "center" and height == width:
            return Preprocess(**common, resize_to=math.floor(height / crop))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
        return None
    except UserError:  # the file cannot be read, or holds values that are not a valid preprocessing
        return None
    return None


def _pretrained_cfg(path: Path) -> dict[str, Any]:
    file = (path if path.is_dir() else path.parent) / "config.json"
    return dict(json_file.read(file)["pretrained_cfg"])


def reference_transform(path: Path) -> Callable[[Path], Tensor]:
    """timm's own preprocessing of an image file to a tensor (C, h, w), from `config.json`. Raises ImportError without timm."""
    from timm.data import create_transform, resolve_data_config

    cfg = _pretrained_cfg(path)
    transform = create_transform(**resolve_data_config(pretrained_cfg=cfg))
    mode = "L" if cfg["input_size"][0] == 1 else "RGB"

    def prepare(file: Path) -> Tensor:
        with Image.open(file) as image:
            return torch.as_tensor(transform(image.convert(mode)))

    return prepare


def config(checkpoint: Checkpoint, name: str, *, top: bool = True) -> dict[str, Any]:
    """The content of `config.json` for timm's network `name`.

    Raises:
        UserError: timm's transforms cannot do the checkpoint's preprocessing.
    """
    spec = checkpoint.spec
    num_classes = spec.num_classes if top else 0
    described: dict[str, Any] = {"architecture": name, "num_classes": num_classes}
    described["num_features"] = spec.out_channels[-1]
    if top and checkpoint.class_names:
        described["label_names"] = list(checkpoint.class_names)
    if spec.in_channels != 3:
        described["model_args"] = {"in_chans": spec.in_channels}
    described["pretrained_cfg"] = {
        **_transform(checkpoint.preprocess, spec.in_channels),
        "num_classes": num_classes,
        "fixed_input_size": False,
        "first_conv": ("stem.conv1" if spec.stem == "deep" else "stem.conv") if spec.preactivation
        else "conv1.0" if spec.stem == "deep" else "conv1",
        "classifier": LAST[spec.preactivation],
        "license": provenance.license_(checkpoint.provenance),
    }  # fmt: skip
    return described


def _transform(preprocess: Preprocess, in_channels: int) -> dict[str, Any]:
    """The entries of `pretrained_cfg` that define timm's transform (timm/data/transforms_factory.py)."""
    height, width = preprocess.size
    uneven = preprocess.resize == "shorter" and height != width
    unsupported = [
        f"resize='{preprocess.resize}'" if preprocess.resize not in ("shorter", "stretch") else "",
        "no crop after the resize" if preprocess.resize == "shorter" and preprocess.crop == "none" else "",
        f"shorter side resized for a crop of {height}x{width}" if uneven else "",
        "resizing without antialias" if not preprocess.antialias else "",
        "a whole mean image" if len(preprocess.mean) > preprocess.channels else "",
    ]
    if any(unsupported):
        raise UserError(
            f"timm's transforms cannot prepare this checkpoint's images: {', '.join(filter(None, unsupported))}. "
            f"A single file ({', '.join(FILES)}) holds the tensors alone."
        )
    squash = preprocess.resize == "stretch"
    return {
        "input_size": [in_channels, height, width],
        "crop_pct": 1.0 if squash else _crop_pct(height, int(preprocess.resize_to or height)),
        "crop_mode": "squash" if squash else "center",
        "interpolation": preprocess.interpolation,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }


def _crop_pct(side: int, shorter: int) -> float:
    """timm resizes the shorter side to floor(side / crop_pct)."""
    plain = side / shorter
    return plain if math.floor(side / plain) == shorter else side / (shorter + 0.5)


def remarks(preprocess: Preprocess) -> list[str]:
    """What to do so that timm prepares images as resnets does, in sentences."""
    gray = "timm takes one channel: open images as gray, Image.open(path).convert('L')"
    return [gray] if preprocess.channels == 1 else []
