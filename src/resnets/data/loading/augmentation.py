"""Augmentation of training images: one by one with torchvision's transforms, or a whole batch of images of one size.

All random numbers come from a seed of the run, the epoch and the position in it, so that neither the number of worker processes
nor an interruption changes them.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

# Principal components of the colors of ImageNet's training images in 0..1, for AlexNet's augmentation, from
# facebook/fb.resnet.torch datasets/imagenet.lua.
PCA_VALUES = (0.2175, 0.0188, 0.0045)
PCA_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))

MIN_SIDE = 1.0  # pixels: a box of which less is left after a crop is dropped
ERASE_FILL = [124, 116, 104]  # the mean color of ImageNet, which is 0 after normalization


def derive_seed(*values: object) -> int:
    """A 63-bit seed that is a pure function of `values`, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=8).digest(), "big") >> 1


@contextlib.contextmanager
def fork_seed(*values: object) -> Iterator[None]:
    """Seed torch's CPU generator with `derive_seed(*values)` in the block; its state is restored afterwards."""
    before = torch.get_rng_state()
    # `torch.manual_seed` would seed every GPU, too, for each single image.
    torch.default_generator.manual_seed(derive_seed(*values))
    try:
        yield
    finally:
        torch.set_rng_state(before)


def train_transform(
    side: int,
    *,
    crop: str = "none",
    scale: Sequence[float] = (0.35, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    shorter_side: Sequence[int] = (256, 480),
    pad_pixels: int = 4,
    pad_mode: str = "zeros",
    fill: Sequence[int] = (0, 0, 0),
    mask_fill: int = 0,
    flip: float = 0.5,
    jitter: float = 0.0,
    pca_std: float = 0.0,
    trivial: bool = False,
    erase: float = 0.0,
) -> v2.Transform:
    """The augmentation of one uint8 image (3, H, W) -> (3, side, side).

    Args:
        side: of the result, in pixels.
        crop: "random_resized" crops a fraction `scale` of the area with an aspect ratio of `ratio` and resizes it (Szegedy et al.
            2015); "shorter_side" resizes the shorter side to a random length of `shorter_side`, then crops (Simonyan
            and Zisserman 2015); "pad" crops from the image with `pad_pixels` around it; "none" leaves it.
        fill: RGB around the image with `pad_mode="zeros"`; it is 0 after normalization if it is the mean color.
        mask_fill: the value around a mask that is transformed with the image.
        jitter: largest relative change of brightness, contrast and saturation.
        pca_std: standard deviation of AlexNet's shift along the principal colors.
        trivial: one random operation of random strength (TrivialAugment, Mueller and Hutter 2021).
        erase: probability that a random patch is erased (Zhong et al. 2020).

    Returns:
        The transform; it draws from torch's CPU generator.
    """
    steps: list[Any] = []
    if crop == "random_resized":
        steps.append(v2.RandomResizedCrop(side, scale=tuple(scale), ratio=tuple(ratio), antialias=True))
    elif crop == "shorter_side":
        steps += [_ShorterSide(*shorter_side), v2.RandomCrop(side, pad_if_needed=True)]
    elif crop == "pad" and pad_pixels:
        fills = {tv_tensors.Mask: mask_fill, "others": list(fill)}
        border = {"fill": fills} if pad_mode == "zeros" else {"padding_mode": pad_mode}
        steps.append(v2.RandomCrop(side, padding=pad_pixels, **border))
    if flip:
        steps.append(v2.RandomHorizontalFlip(flip))
    if trivial:
        steps.append(v2.TrivialAugmentWide())
    if jitter:
        steps.append(v2.ColorJitter(jitter, jitter, jitter))
    if pca_std:
        steps.append(_PrincipalColors(pca_std))
    if erase:
        steps.append(v2.RandomErasing(erase, value=ERASE_FILL))
    return v2.Compose(steps) if steps else v2.Identity()


def visible_objects() -> v2.Transform:
    """Cut boxes at the border of the image; drop those of which nothing is left, with their labels and masks."""
    return v2.Compose(
        [v2.ClampBoundingBoxes("hard"), v2.SanitizeBoundingBoxes(min_size=MIN_SIDE, labels_getter=_labels)]
    )


def _labels(inputs: tuple[Any, dict[str, Any]]) -> Tensor:
    labels: Tensor = inputs[1]["labels"]
    return labels


class _ShorterSide(v2.Transform):
    """Resize the shorter side to a length drawn uniformly from `low` to `high`."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"length": int(torch.randint(self.low, self.high + 1, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return v2.functional.resize(inpt, [params["length"]], antialias=True)


class _PrincipalColors(v2.Transform):
    """Add one color to the whole image, drawn along the principal components (Krizhevsky et al. 2012, sec. 4.1)."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        strength = torch.randn(3) * self.std * torch.tensor(PCA_VALUES)
        return {"color": torch.tensor(PCA_VECTORS) @ strength * 255}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return (inpt + params["color"][:, None, None]).round().clamp(0, 255).to(torch.uint8)


_PAD_MODES = {"zeros": "constant", "edge": "replicate", "reflect": "reflect"}  # torch's names


class BatchCropFlip:
    """Random crop of the padded image and random flip, for batches of images of one size, without a loop.

    The offset of the crop and the flip at each position are drawn for a whole epoch at once from (seed, epoch). With
    `alternate_flip`, whether an image is flipped is drawn from (seed, its index) for epoch 0, and changes with each epoch, so
    that two epochs have both views of every image (Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, section 3.6).
    """

    def __init__(
        self, num_images: int, *, seed: int, pad_pixels: int, pad_mode: str = "zeros", flip: float = 0.5,
        alternate_flip: bool = False,
    ) -> None:  # fmt: skip
        self.num_images, self.seed = num_images, seed
        self.pad_pixels, self.pad_mode, self.flip = pad_pixels, pad_mode, flip
        self._epoch = -1
        self._flipped_at_first: Tensor | None = None
        if alternate_flip:
            generator = torch.Generator().manual_seed(derive_seed(seed, "alternate flip"))
            self._flipped_at_first = torch.rand(num_images, generator=generator) < flip

    def __call__(self, images: Tensor, positions: Tensor, epoch: int, indices: Tensor) -> Tensor:
        """Augment normalized `images` (B, C, h, w), which are at `positions` (B,) in the order of the epoch and have `indices`
        (B,) in the dataset."""
        self._draw(epoch)
        top, left = self._top[positions], self._left[positions]
        flipped = self._flipped[positions]
        if self._flipped_at_first is not None:
            flipped = self._flipped_at_first[indices] ^ (epoch % 2 == 1)
        height, width = images.shape[-2:]
        if self.pad_pixels:
            images = torch.nn.functional.pad(images, [self.pad_pixels] * 4, mode=_PAD_MODES[self.pad_mode])
        columns = torch.arange(width).expand(len(positions), width)
        columns = torch.where(flipped[:, None], columns.flip(1), columns) + left[:, None]  # (B, w)
        rows = torch.arange(height) + top[:, None]  # (B, h)
        batch = torch.arange(len(positions))[:, None, None]
        grid = (batch, rows[:, :, None], columns[:, None, :])
        batch, rows, columns = (index.to(images.device, non_blocking=True) for index in grid)
        # Indexing around the channels puts them last: (B, h, w, C), which is the layout of channels_last.
        return images[batch, :, rows, columns].permute(0, 3, 1, 2)

    def _draw(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, "whole batch"))
        num_offsets = 2 * self.pad_pixels + 1
        self._top = torch.randint(num_offsets, (self.num_images,), generator=generator)
        self._left = torch.randint(num_offsets, (self.num_images,), generator=generator)
        self._flipped = torch.rand(self.num_images, generator=generator) < self.flip
        self._epoch = epoch


def mixup_cutmix(images: Tensor, targets: Tensor, *, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019) of a batch with itself; a random one of the two if both are on.

    Args:
        images: (B, C, h, w).
        targets: (B, K) probabilities of the classes.

    Returns:
        The mixed images (B, C, h, w) and their targets (B, K); both unchanged if neither is on, or for a single image.
    """
    mixers: list[v2.Transform] = []
    if mixup_alpha:
        mixers.append(v2.MixUp(alpha=mixup_alpha))
    if cutmix_alpha:
        mixers.append(v2.CutMix(alpha=cutmix_alpha))
    if not mixers or len(images) < 2:
        return images, targets
    return mixers[int(torch.randint(len(mixers), ()))](images, targets)


def as_tensor(image: np.ndarray) -> Tensor:
    """A uint8 image (H, W, 3) as a tensor (3, H, W) that shares its memory."""
    return torch.from_numpy(image).permute(2, 0, 1)
