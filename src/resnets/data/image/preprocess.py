"""Preprocess: resize, crop and normalize an image into the input of a network, as one frozen value.

It is stored in the checkpoint and used in training, evaluation and prediction. An image is resized and cropped as 8-bit RGB
(`resizing`) and then normalized as float.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.image import resizing
from resnets.data.image.decode import OpenedImage, decode, decode_sized, to_upright_rgb
from resnets.data.image.placement import Placement
from resnets.errors import ImageError, UserError
from resnets.message_format import suggestion

RESIZES = ("shorter", "stretch", "pad", "fit", "none")
COLORS = ("rgb", "bgr", "gray")
# ImageNet's mean and standard deviation as torchvision and timm use them, for values of 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# A JPEG is decoded at a smaller scale if its shorter side keeps this multiple of the side that is needed, and this number of
# pixels: at less, the difference becomes visible, and little time is saved.
_FAST_JPEG_FACTOR = 2
_FAST_JPEG_MIN_SIDE = 256
# ITU-R 601, the weights of Pillow's "L".
_GRAY_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Preprocess:
    """From 8-bit RGB of any size to float (C, height, width).

    Attributes:
        size: height and width of the result in pixels; the largest with "fit".
        resize: "shorter" resizes the shorter side to `resize_to`, "stretch" both sides to `size`, "pad" fits the whole
            image into `size` in front of the background, "fit" does so without a background, "none" leaves it.
        resize_to: in pixels; only with "shorter", and with "fit" the largest shorter side, None for no such limit.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".
        antialias: whether a downscaled image is smoothed. Without, "stretch" with "bilinear" or "nearest" is the resizing of
            TensorFlow and of Keras' `image_dataset_from_directory`, in float.
        crop: "center" crops `size` from the middle, padding a smaller image with black as torchvision does; "none" leaves the
            resized image, as "fit" always does.
        color: the order of the channels, or "gray" for a single one.
        scale: the divisor of 8-bit values, before mean and std.
        mean, std: for each channel in the order of `color`: (value / scale - mean) / std. `mean` may also be a whole mean
            image (He et al. 2015): C * height * width numbers in the order channel, row, column.
        background: RGB, 0 to 255, behind transparent pixels and around padded images.
        fast_jpeg: whether `load` and `read` decode a large JPEG at 1/2, 1/4 or 1/8 of its size, as long as the shorter side
            keeps twice the pixels that are needed, and 256 pixels. It saves two thirds of the time and changes the result
            slightly; switch it off for exact equality with other libraries. Without `antialias` it is off.
    """

    size: tuple[int, int] = (224, 224)
    resize: str = "shorter"
    resize_to: int | None = 256
    interpolation: str = "bilinear"
    antialias: bool = True
    crop: str = "center"
    color: str = "rgb"
    scale: float = 255.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    background: tuple[int, int, int] = (255, 255, 255)
    fast_jpeg: bool = True

    def __post_init__(self) -> None:
        _check_choice("resize", self.resize, RESIZES)
        _check_choice("interpolation", self.interpolation, resizing.INTERPOLATIONS)
        _check_choice("color", self.color, COLORS)
        _check_choice("crop", self.crop, ("center", "none"))
        for key, kind in (("size", int), ("background", int), ("mean", float), ("std", float)):
            object.__setattr__(self, key, _number_tuple(key, getattr(self, key), kind))
        if self.resize not in ("shorter", "fit"):
            object.__setattr__(self, "resize_to", None)  # so that values that compute the same are equal
        if self.resize == "fit":
            object.__setattr__(self, "crop", "none")
        self._check()

    def _check(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size is a height and a width of at least 1 pixel; received {self.size}.")
        side = self.resize_to
        if self.resize == "shorter" and (type(side) is not int or side < max(self.size)):
            raise UserError(f"resize_to is at least the larger side of size {self.size}, in pixels; received {side}.")
        if self.resize == "fit" and self.size[0] != self.size[1]:
            raise UserError(f"size is a square for resize 'fit'; received {self.size}.")
        if self.resize == "fit" and side is not None and (type(side) is not int or side < 1):
            raise UserError(f"resize_to is at least 1 pixel; received {side}.")
        if (
            len(self.mean) not in (self.channels, self.channels * math.prod(self.size))
            or len(self.std) != self.channels
        ):
            received = f"received {len(self.mean)} mean(s) and std {self.std}"
            raise UserError(f"{self.color} has {self.channels} channel(s); {received}.")
        if min(self.std) <= 0 or not 0 < self.scale < math.inf:
            raise UserError(f"std and scale are greater than 0; received std {self.std}, scale {self.scale}.")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise UserError(f"background is red, green and blue from 0 to 255; received {self.background}.")
        if not self.antialias and (self.resize != "stretch" or self.interpolation not in ("nearest", "bilinear")):
            # The bicubic interpolations of torch and TensorFlow differ, and only these two were compared.
            raise UserError(
                "antialias can only be off for resize 'stretch' with interpolation 'bilinear' or 'nearest'."
            )

    @classmethod
    def imagenet(cls, imgsz: int = 224) -> Preprocess:
        """torchvision's evaluation: shorter side to 8/7 of `imgsz` (256 for 224), bilinear, center crop."""
        return cls(size=(imgsz, imgsz), resize_to=round(imgsz * 256 / 224))

    @classmethod
    def caffe(cls, imgsz: int = 224) -> Preprocess:
        """Keras Applications' V1: BGR of 0 to 255 less ImageNet's mean (keras/src/applications/imagenet_utils.py)."""
        return cls(
            size=(imgsz, imgsz), resize="stretch", resize_to=None, color="bgr", scale=1.0,
            mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0),
        )  # fmt: skip

    @classmethod
    def tf(cls, imgsz: int = 224) -> Preprocess:
        """Keras Applications' V2: RGB from -1 to 1 (keras/src/applications/imagenet_utils.py)."""
        half = (1.0, 1.0, 1.0)
        return cls(size=(imgsz, imgsz), resize="stretch", resize_to=None, scale=127.5, mean=half, std=half)

    @classmethod
    def plain(cls, imgsz: int, mean: Sequence[float], std: Sequence[float]) -> Preprocess:
        """Stretched to a square, (value - `mean`) / `std` for values of 0 to 1: for images of one size, such as CIFAR's."""
        return cls(size=(imgsz, imgsz), resize="stretch", resize_to=None, mean=tuple(mean), std=tuple(std))

    @property
    def channels(self) -> int:
        """The number of channels of the result: 1 for gray, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def mean_color(self) -> tuple[int, int, int]:
        """The color, RGB from 0 to 255, that is 0 after normalization."""
        mean = np.reshape(self.mean, (self.channels, -1)).mean(axis=1) * self.scale
        red, green, blue = (
            np.resize(mean, 3).round().clip(0, 255).astype(int)[:: -1 if self.color == "bgr" else 1].tolist()
        )
        return red, green, blue

    @property
    def shorter_side(self) -> int | None:
        """The shorter side in pixels after the resize and before the crop; None if images keep their size.

        With "fit" it is the largest possible one.
        """
        return {"shorter": self.resize_to, "fit": self.resize_to or max(self.size), "none": None}.get(
            self.resize, max(self.size)
        )

    def describe(self) -> str:
        """As text: "shorter side to 256, center crop 224x224, bilinear, rgb / 255, mean ..., std ..."."""
        size = f"{self.size[0]}x{self.size[1]}"
        crop = f", center crop {size}" if self.crop == "center" else ""
        shape = {
            "shorter": f"shorter side to {self.resize_to}{crop}", "stretch": f"stretched to {size}",
            "pad": f"padded to {size}", "none": f"not resized{crop}",
            "fit": f"fitted into {size}" + (f", shorter side at most {self.resize_to}" if self.resize_to else ""),
        }[self.resize]  # fmt: skip
        mean = ", ".join(f"{value:g}" for value in self.mean) if len(self.mean) <= 3 else "a whole image"
        std = ", ".join(f"{value:g}" for value in self.std)
        return f"{shape}, {self.interpolation}, {self.color} / {self.scale:g}, mean {mean}, std {std}"

    def with_size(self, side: int) -> Preprocess:
        """The same for squares of another side in pixels; `resize_to` is scaled with it."""
        resize_to = self.resize_to and round(self.resize_to * side / max(self.size))
        if resize_to is not None and self.resize == "shorter":
            resize_to = max(resize_to, side)
        mean = self.mean
        if len(mean) > self.channels:  # a mean image is scaled, too
            image = torch.tensor(mean, dtype=torch.float32).view(1, self.channels, *self.size)
            image = torch.nn.functional.interpolate(image, size=(side, side), mode="bilinear", antialias=True)
            mean = tuple(image.flatten().tolist())
        return replace(self, size=(side, side), resize_to=resize_to, mean=mean)

    def load(self, path_or_bytes: str | Path | bytes, *, name: str | None = None) -> Tensor:
        """The input for a file: float32 (C, height, width). Raises DecodeError as `decode` does."""
        return self.load_placed(path_or_bytes, name=name)[0]

    def load_placed(self, path_or_bytes: str | Path | bytes, *, name: str | None = None) -> tuple[Tensor, Placement]:
        """As `load`, and where the image of the file lies in the input."""
        return self.place(*self.read_sized(path_or_bytes, name=name))

    def place(self, image: np.ndarray | Image.Image, original: tuple[int, int]) -> tuple[Tensor, Placement]:
        """The input for an image as of `read_sized`, and where the image lies in it."""
        placement = self.placement(*original)
        return self.normalize(self._resize_crop(image, placement)), placement

    def read_sized(
        self, path_or_bytes: str | Path | bytes | OpenedImage, *, name: str | None = None, full_size: bool = False
    ) -> tuple[Image.Image, tuple[int, int]]:
        """The decoded image of mode RGB, and the height and width of that in the file. Raises as `load`.

        Args:
            path_or_bytes: see `decode.decode_sized`.
            full_size: whether a large JPEG is decoded at its full size in any case.
        """
        min_side = None if full_size else self._min_decode_side
        return decode_sized(path_or_bytes, name=name, background=self.background, min_side=min_side)

    def read(self, path_or_bytes: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
        """The decoded image, uint8 (H, W, 3), not much larger than what the resize needs. Raises as `load`."""
        return decode(path_or_bytes, name=name, background=self.background, min_side=self._min_decode_side)

    def __call__(self, image: np.ndarray | Image.Image) -> Tensor:
        """uint8 RGB (H, W, 3), or a Pillow image of any mode -> float32 (C, height, width).

        The EXIF orientation of a Pillow image is applied, as `load` does for a file. An array has none.

        Raises:
            UserError: `image` is something else; use `load` for a path.
        """
        return self.normalize(self._resize_crop(self._check_input(image)))

    def placement(self, height: int, width: int) -> Placement:
        """Where an image of that size lies in the input that is made of it."""
        original, size = (height, width), self.size
        if self.resize == "shorter":
            resized, scale, cut = resizing.shorter_side_size(original, self.resize_to or 0)
        elif self.resize == "none":
            resized, scale, cut = original, (1.0, 1.0), (0, 0)
        else:
            fitted = resizing.fitted_size(original, size, self.resize_to)
            resized, cut = (size if self.resize == "stretch" else fitted), (0, 0)
            scale = resized[0] / height, resized[1] / width
        offset = -cut[0] * scale[0], -cut[1] * scale[1]
        if self.resize == "fit" or (self.crop == "none" and self.resize in ("shorter", "none")):
            return Placement(original, resized, scale, offset)
        if self.resize == "pad":
            top, left = (size[0] - resized[0]) // 2, (size[1] - resized[1]) // 2
        else:
            left, top = (-each for each in resizing.center_crop_corner(resized[::-1], size))
        return Placement(original, size, scale, (offset[0] + top, offset[1] + left))

    def views(self, image: np.ndarray | Image.Image, *, crops: int = 1) -> Tensor:
        """Several crops of one uint8 RGB image (H, W, 3) for test-time augmentation: float32 (V, C, height, width).

        `crops=10` returns the four corners and the center, and those of the mirror image, as torchvision's TenCrop. `crops=6`
        returns the input, the input moved by a pixel up and left, and down and right, where the border is reflected, and their
        mirror images (Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, section 3.5).
        """
        if crops == 1:
            return self(image)[None]
        if crops == 6:
            frame = self._resize_crop(self._check_input(image))
            height, width = frame.shape[-2:]
            padded = torch.nn.functional.pad(frame.float()[None], (1, 1, 1, 1), mode="reflect")[0]
            moved = torch.stack([padded[:, by : by + height, by : by + width] for by in (1, 2, 0)])
            return self.normalize(torch.cat([moved, moved.flip(-1)]))
        if crops != 10:
            raise UserError(f"crops is 1, 6 or 10; received {crops}.")
        image = self._resize(self._check_input(image))
        if image.height < self.size[0] or image.width < self.size[1]:
            needed = f"{self.size[1]}x{self.size[0]}"
            raise ImageError(f"Ten crops of {needed} need a larger image; received {image.width}x{image.height}.")
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        frames = [crop for side in (image, mirrored) for crop in resizing.five_crop(side, self.size)]
        return self.normalize(torch.stack([resizing.to_chw(frame) for frame in frames]))

    def resize_crop(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Resize and crop without normalization: uint8 RGB (H, W, 3) -> uint8 (height, width, 3)."""
        frame = self._resize_crop(self._check_input(image))
        return frame.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize values of 0 to 255 in RGB (…, 3, h, w), of any type: float32 (…, C, h, w)."""
        values = images.to(torch.float32)
        if self.color == "bgr":
            values = values.flip(-3)
        elif self.color == "gray":
            values = (values * self._constants(values.device)[2]).sum(-3, keepdim=True)
        mean, std, _ = self._constants(values.device)
        return (values / self.scale - mean) / std

    def _constants(self, device: torch.device) -> tuple[Tensor, ...]:
        """Mean, std and the weights of gray on a device, where they stay: a copy to a GPU would make each step wait for it."""
        if device not in self._constants_by_device:
            self._constants_by_device[device] = tuple(each.to(device) for each in (*self._mean_std, _gray_weights()))
        return self._constants_by_device[device]

    @cached_property
    def _constants_by_device(self) -> dict[torch.device, tuple[Tensor, ...]]:
        return {}

    @cached_property
    def _mean_std(self) -> tuple[Tensor, Tensor]:
        """Mean and std as tensors that broadcast with (C, h, w). Cached, since a mean image has many numbers."""
        shape = (1, 1) if len(self.mean) == self.channels else self.size
        mean, std = (torch.tensor(each, dtype=torch.float32) for each in (self.mean, self.std))
        return mean.view(self.channels, *shape), std.view(-1, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as values for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """The inverse of `to_dict`. An unknown key, or a value of another type, is a UserError."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key, value in values.items():
            if key not in fields:
                raise UserError(f"Preprocessing has no setting '{key}'.{suggestion(key, fields)}")
            if not _has_type_of(value, fields[key].default):
                raise UserError(f"Preprocessing cannot have {key}={value!r}.")
        return cls(**values)

    @property
    def _min_decode_side(self) -> int | None:
        """The shorter side that a JPEG keeps at least when it is decoded at a smaller scale; None for its full size."""
        needed = self.shorter_side
        if not self.fast_jpeg or not self.antialias or needed is None:
            return None
        return max(_FAST_JPEG_FACTOR * needed, _FAST_JPEG_MIN_SIDE)

    def _check_input(self, image: np.ndarray | Image.Image) -> np.ndarray | Image.Image:
        """The array, or the Pillow image as RGB with its orientation applied; UserError for anything else."""
        if isinstance(image, Image.Image):
            return to_upright_rgb(image, background=self.background)
        if isinstance(image, str | bytes | Path):
            kind = type(image).__name__
            raise UserError(f"Received a {kind} instead of an image: `Preprocess.load` reads files.")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UserError(f"An image is a uint8 array (H, W, 3) in RGB, or a Pillow image; received {kind}.")
        return image

    def _resize_crop(self, image: np.ndarray | Image.Image, placement: Placement | None = None) -> Tensor:
        """Resized and cropped, (3, height, width): uint8, or float without antialias; `placement` is needed for "fit" of an image
        that was decoded at a smaller scale.
        """
        if not self.antialias:
            mode, corners = ("bilinear", False) if self.interpolation == "bilinear" else ("nearest-exact", None)
            floats = resizing.to_chw(image).float()[None]
            return torch.nn.functional.interpolate(floats, size=self.size, mode=mode, align_corners=corners)[0]
        if self.resize == "fit":
            frame = resizing.to_pillow(image)
            own = frame.height, frame.width
            placement = placement or self.placement(*own)
            region = resizing.decoded_region(own, placement.original)
            return resizing.to_chw(frame.resize(placement.size[::-1], resizing.METHODS[self.interpolation], region))
        image = self._resize(image)
        if self.crop == "center" and (image.height, image.width) != self.size:
            image = resizing.center_crop(image, self.size)
        return resizing.to_chw(image)

    def _resize(self, image: np.ndarray | Image.Image) -> Image.Image:
        image, method = resizing.to_pillow(image), resizing.METHODS[self.interpolation]
        if self.resize == "shorter":
            return resizing.resize_shorter_side(image, self.resize_to or 0, method)
        if self.resize == "stretch":
            return image.resize(self.size[::-1], method)
        if self.resize == "pad":
            return resizing.resize_pad(image, self.size, method, self.background)
        return image


def _gray_weights() -> Tensor:
    return torch.tensor(_GRAY_WEIGHTS).view(3, 1, 1)


def _number_tuple(key: str, value: Any, kind: type) -> tuple[Any, ...]:
    allowed = int if kind is int else int | float
    if not isinstance(value, list | tuple) or not all(
        isinstance(item, allowed) and not isinstance(item, bool) and math.isfinite(item) for item in value
    ):
        what = "whole numbers" if kind is int else "finite numbers"
        raise UserError(f"{key} is a list of {what}; received {str(value)[:60]}.")
    return tuple(value)


def _check_choice(key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{key} is one of {', '.join(known)}; received '{value}'.{suggestion(str(value), known)}")


def _has_type_of(value: Any, default: Any) -> bool:
    """Whether a value from JSON has the type of the attribute's default."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str)
    return value is None or isinstance(value, int | float)
