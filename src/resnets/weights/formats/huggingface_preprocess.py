"""Preprocessing of transformers' image processors: `preprocessor_config.json` from and to `Preprocess`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.weights.readers import json_file

METHODS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
PROCESSOR = "preprocessor_config.json"


def preprocessor(path: Path) -> Preprocess | None:
    """The preprocessing in `preprocessor_config.json` beside the tensors, or None if there is none that can be expressed."""
    file = (path if path.is_dir() else path.parent) / PROCESSOR
    try:
        config = json_file.read(file)
        if not all(config.get(key, True) for key in ("do_resize", "do_rescale", "do_normalize")):
            return None
        scale = 1 / float(config.get("rescale_factor", 1 / 255))
        return replace(
            _shape(config), interpolation=METHODS[config.get("resample", 3)],
            scale=float(round(scale)) if abs(scale - round(scale)) < 1e-6 else scale,
            mean=tuple(config["image_mean"]), std=tuple(config["image_std"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
        return None
    except UserError:  # the file cannot be read, or holds values that are not a valid preprocessing
        return None


def _shape(config: Mapping[str, Any]) -> Preprocess:
    """Resizing and cropping, by the name of the image processor."""
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "ConvNext")))
    size = config["size"]
    if kind.startswith(("ViT", "Bit")):
        if isinstance(size, dict) and "height" in size:
            to: tuple[int, int] = (int(size["height"]), int(size["width"]))
            if kind.startswith("ViT") or not config.get("do_center_crop", True):
                return Preprocess(size=to, resize="stretch")
        shorter = int(size["shortest_edge"] if isinstance(size, dict) else size)
        if kind.startswith("ViT"):
            return Preprocess(size=(shorter, shorter), resize="stretch")
        if not config.get("do_center_crop", True):
            return Preprocess(size=(shorter, shorter), resize_to=shorter, crop="none")
        crop = config["crop_size"]
        inner = (int(crop["height"]), int(crop["width"])) if isinstance(crop, dict) else (int(crop), int(crop))
        return Preprocess(size=inner, resize_to=shorter)
    side = int(size["shortest_edge"] if isinstance(size, dict) else size)
    if side >= 384:  # ConvNextImageProcessor then stretches and does not crop
        return Preprocess(size=(side, side), resize="stretch")
    return Preprocess(size=(side, side), resize_to=int(side / config.get("crop_pct", 0.875)))


def processor_config(preprocess: Preprocess) -> dict[str, Any]:
    """The content of `preprocessor_config.json`: `BitImageProcessor` resizes the shorter side and crops,
    `ViTImageProcessor` stretches; both do so at every size.

    Raises:
        UserError: no image processor of transformers prepares images the same way; the message names the difference.
    """
    color, scale, size = preprocess.color, preprocess.scale, preprocess.size
    shape: dict[str, Any]
    unsupported = [
        f"the images are {color}" if color != "rgb" else "",
        f"resize='{preprocess.resize}'" if preprocess.resize not in ("shorter", "stretch") else "",
        "resizing without antialias" if not preprocess.antialias else "",
        "a whole mean image" if len(preprocess.mean) > preprocess.channels else "",
        "interpolation='nearest'" if preprocess.interpolation == "nearest" else "",
    ]
    if any(unsupported):
        raise UserError(
            f"No image processor of transformers can prepare this checkpoint's images: {', '.join(filter(None, unsupported))}. "
            "Write another format, or train with resize 'shorter' or 'stretch' on RGB images."
        )
    sides, kind = {"height": size[0], "width": size[1]}, "BitImageProcessor"
    if preprocess.resize == "stretch":
        kind, shape = "ViTImageProcessor", {"size": sides}
    else:
        crop = {"do_center_crop": False} if preprocess.crop == "none" else {"do_center_crop": True, "crop_size": sides}
        shape = {"size": {"shortest_edge": preprocess.resize_to}, **crop}
    return {
        "image_processor_type": kind,
        "do_convert_rgb": True,
        "do_resize": True,
        **shape,
        "resample": {name: number for number, name in METHODS.items()}[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / scale,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def remarks(preprocess: Preprocess) -> list[str]:
    """How transformers prepares images differently from resnets, in sentences."""
    if preprocess.resize != "shorter" or preprocess.crop == "none":
        return []
    always = any((int(preprocess.resize_to or 0) - side) % 4 == 3 for side in preprocess.size)
    which = "every image" if always else "images where an odd number of rows or columns is cut"
    where = "up to one pixel nearer to the upper left corner than torchvision and resnets do"
    return [f"transformers crops {which} {where}"]


def transform_with_library_crop(preprocess: Preprocess) -> Callable[[Path], Tensor]:
    """Our preprocessing of an image file to a tensor (C, h, w), but with transformers' crop; see `remarks`."""
    whole = replace(preprocess, crop="none")
    height, width = preprocess.size

    def prepare(file: Path) -> Tensor:
        image = whole.load(file)
        top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        return image[..., top : top + height, left : left + width]

    return prepare


def reference_transform(path: Path) -> Callable[[Path], Tensor]:
    """transformers' own preprocessing of an image file to a tensor (C, h, w), from `preprocessor_config.json`.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers import AutoImageProcessor
    from transformers.image_utils import load_image

    processor = AutoImageProcessor.from_pretrained(path if path.is_dir() else path.parent)

    def prepare(file: Path) -> Tensor:
        image = load_image(str(file))
        return torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"][0])

    return prepare
