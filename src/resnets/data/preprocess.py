"""How a picture becomes a network's input: one frozen value, stored with the weights and used wherever a file is read.

A picture is resized and cropped as 8-bit RGB and then normalised as float. Resizing is torchvision's of PIL pictures,
which is Pillow's: the result equals torchvision's own transforms on the same file.
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
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from resnets.data.decode import decode
from resnets.errors import UserError, suggestion

RESIZES = ("shorter", "stretch", "pad", "none")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
COLOURS = ("rgb", "bgr", "grey")
# ImageNet's mean and standard deviation as torchvision and timm use them, for values of 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ITU-R 601, the weights of Pillow's "L".
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Preprocess:
    """From 8-bit RGB of any size to float (C, height, width).

    Attributes:
        size: height and width of the result in pixels.
        resize: "shorter" brings the shorter side to `resize_to`, "stretch" both sides to `size`, "pad" fits the whole
            picture into `size` before the background, "none" leaves it.
        resize_to: in pixels; only with "shorter".
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos".
        antialias: whether a shrunken picture is smoothed. Without, as TensorFlow and Keras resize; "stretch" only.
        crop: "center" cuts `size` from the middle; "none" leaves the resized picture as it is.
        colour: the order of the channels, or "grey" for a single one.
        scale: what 8-bit values are divided by, before mean and std.
        mean, std: for each channel in the order of `colour`: (value / scale - mean) / std. `mean` may also be a whole mean
            picture (He et al. 2015): C * height * width numbers in the order channel, row, column.
        background: RGB, 0 to 255, behind transparent places and beside padded pictures.
        draft: whether a JPEG of at least twice the needed size is decoded at a half, a quarter or an eighth of it. Much
            quicker; for exact equality with other libraries on large JPEGs switch it off.
    """

    size: tuple[int, int] = (224, 224)
    resize: str = "shorter"
    resize_to: int | None = 256
    interpolation: str = "bilinear"
    antialias: bool = True
    crop: str = "center"
    colour: str = "rgb"
    scale: float = 255.0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    background: tuple[int, int, int] = (255, 255, 255)
    draft: bool = True

    def __post_init__(self) -> None:
        for key in ("size", "mean", "std", "background"):
            object.__setattr__(self, key, _numbers(key, getattr(self, key)))
        _one_of("resize", self.resize, RESIZES)
        _one_of("interpolation", self.interpolation, INTERPOLATIONS)
        _one_of("colour", self.colour, COLOURS)
        _one_of("crop", self.crop, ("center", "none"))
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size is a height and a width of at least 1 pixel; received {self.size}.")
        if self.resize == "shorter" and (self.resize_to is None or self.resize_to < max(self.size)):
            raise UserError(f"resize_to is at least the larger side of size {self.size}; received {self.resize_to}.")
        channels = 1 if self.colour == "grey" else 3
        if len(self.mean) not in (channels, channels * math.prod(self.size)) or len(self.std) != channels:
            received = f"received {len(self.mean)} mean(s) and std {self.std}"
            raise UserError(f"{self.colour} has {channels} channel(s); {received}.")
        if min(self.std) <= 0 or self.scale <= 0:
            raise UserError(f"std and scale are greater than 0; received std {self.std}, scale {self.scale}.")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise UserError(f"background is red, green and blue from 0 to 255; received {self.background}.")
        if not self.antialias and self.resize != "stretch":
            raise UserError("antialias can only be switched off for resize 'stretch'.")

    @classmethod
    def imagenet(cls, imgsz: int = 224) -> Preprocess:
        """torchvision's evaluation: shorter side to 8/7 of `imgsz` (256 for 224), bilinear, centre crop."""
        return cls(size=(imgsz, imgsz), resize_to=round(imgsz * 256 / 224))

    @classmethod
    def caffe(cls, imgsz: int = 224) -> Preprocess:
        """Keras Applications' V1: BGR of 0 to 255 less ImageNet's mean (keras/src/applications/imagenet_utils.py)."""
        return cls(
            size=(imgsz, imgsz), resize="stretch", resize_to=None, colour="bgr", scale=1.0,
            mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0),
        )  # fmt: skip

    @classmethod
    def tf(cls, imgsz: int = 224) -> Preprocess:
        """Keras Applications' V2: RGB from -1 to 1 (keras/src/applications/imagenet_utils.py)."""
        half = (1.0, 1.0, 1.0)
        return cls(size=(imgsz, imgsz), resize="stretch", resize_to=None, scale=127.5, mean=half, std=half)

    @classmethod
    def plain(cls, imgsz: int, mean: Sequence[float], std: Sequence[float]) -> Preprocess:
        """Stretched to a square, values of 0 to 1 less `mean` over `std`: for pictures that are all alike, as CIFAR's."""
        return cls(size=(imgsz, imgsz), resize="stretch", resize_to=None, mean=tuple(mean), std=tuple(std))

    @property
    def channels(self) -> int:
        """Of the result: 1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    def at(self, side: int) -> Preprocess:
        """The same at squares of another side in pixels; the resize grows or shrinks along with it."""
        resize_to = self.resize_to and max(round(self.resize_to * side / max(self.size)), side)
        mean = self.mean
        if len(mean) > self.channels:  # a mean picture grows or shrinks along, too
            picture = torch.tensor(mean, dtype=torch.float32).view(1, self.channels, *self.size)
            picture = torch.nn.functional.interpolate(picture, size=(side, side), mode="bilinear", antialias=True)
            mean = tuple(picture.flatten().tolist())
        return replace(self, size=(side, side), resize_to=resize_to, mean=mean)

    def load(self, source: str | Path | bytes, *, name: str | None = None) -> Tensor:
        """The input for a file, (C, height, width); raises DecodeError as `decode` does."""
        return self(self.read(source, name=name))

    def read(self, source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
        """The decoded picture, uint8 (H, W, 3), at no more than the resolution that this value needs."""
        needed = {"shorter": self.resize_to, "none": None}.get(self.resize, max(self.size))
        return decode(source, name=name, background=self.background, min_side=needed if self.draft else None)

    def __call__(self, picture: np.ndarray) -> Tensor:
        """uint8 RGB (H, W, 3) -> float32 (C, height, width)."""
        return self.normalize(self._cropped(self._resized(picture)))

    def views(self, picture: np.ndarray, *, crops: int = 1) -> Tensor:
        """Several looks at one uint8 RGB picture (H, W, 3): (V, C, height, width).

        `crops=10` gives the four corners and the centre, and the mirror images of these five, as torchvision's TenCrop.
        """
        if crops == 1:
            return self(picture)[None]
        if crops != 10:
            raise UserError(f"crops is 1 or 10; received {crops}.")
        resized = self._resized(picture)
        five = torch.stack(functional.five_crop(resized, list(self.size)))
        return self.normalize(torch.cat((five, five.flip(-1))))

    def framed(self, picture: np.ndarray) -> np.ndarray:
        """Resized and cropped, not yet normalised: uint8 RGB (H, W, 3) -> uint8 (height, width, 3)."""
        frame = self._cropped(self._resized(picture))
        return frame.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    def normalize(self, pictures: Tensor) -> Tensor:
        """Values of 0 to 255 in RGB (…, 3, h, w), of any type, as the network wants them: float32 (…, C, h, w)."""
        values = pictures.to(torch.float32)
        if self.colour == "bgr":
            values = values.flip(-3)
        elif self.colour == "grey":
            weights = torch.tensor(_GREY, device=values.device).view(3, 1, 1)
            values = (values * weights).sum(-3, keepdim=True)
        mean, std = (each.to(values.device) for each in self._moments)
        return (values / self.scale - mean) / std

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and std as tensors that go with (C, h, w): a mean picture has too many numbers to convert each time."""
        shape = (1, 1) if len(self.mean) == self.channels else self.size
        mean, std = (torch.tensor(each, dtype=torch.float32) for each in (self.mean, self.std))
        return mean.view(self.channels, *shape), std.view(-1, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """The value of `to_dict`; an unknown key or a value that does not fit is a UserError."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key, value in values.items():
            if key not in fields:
                raise UserError(f"Preprocessing has no setting '{key}'.{suggestion(key, fields)}")
            if not _fits(value, fields[key].default):
                raise UserError(f"Preprocessing cannot have {key}={value!r}.")
        return cls(**values)

    def _resized(self, picture: np.ndarray) -> Tensor:
        """(3, H, W): uint8, or float without antialias."""
        if not self.antialias:
            floats = _planes(picture).float()[None]
            mode = {"bilinear": "bilinear", "bicubic": "bicubic"}.get(self.interpolation, "nearest")
            corners = None if mode == "nearest" else False
            return torch.nn.functional.interpolate(floats, size=self.size, mode=mode, align_corners=corners)[0]
        image = Image.fromarray(picture)
        method = InterpolationMode(self.interpolation)
        if self.resize == "shorter":
            image = functional.resize(image, [self.resize_to], method)
        elif self.resize == "stretch":
            image = functional.resize(image, list(self.size), method)
        elif self.resize == "pad":
            resample = Image.Resampling[self.interpolation.upper()]
            image = ImageOps.pad(image, self.size[::-1], resample, color=self.background)
        return _planes(np.asarray(image))

    def _cropped(self, picture: Tensor) -> Tensor:
        if self.crop == "none" or picture.shape[-2:] == self.size:
            return picture
        return functional.center_crop(picture, list(self.size))


def _planes(picture: np.ndarray) -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1).contiguous()


def _numbers(key: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, int | float) for item in value):
        raise UserError(f"{key} is a list of numbers; received {value!r}.")
    return tuple(value)


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{key} is one of {', '.join(known)}; received '{value}'.{suggestion(str(value), known)}")


def _fits(value: Any, default: Any) -> bool:
    """Whether a value from JSON is of the kind of the attribute's default."""
    if isinstance(default, tuple):
        return isinstance(value, list | tuple)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str)
    return value is None or isinstance(value, int | float)
