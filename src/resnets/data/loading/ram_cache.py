"""Training images before augmentation: decoded when asked for, or kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torchvision.transforms.v2 import functional

from resnets import ranks
from resnets.data.image.decode import DecodeError, decode
from resnets.data.image.resizing import center_strip_box
from resnets.data.loading.augmentation import as_tensor
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError, format_list, pluralize
from resnets.progress import log, progress_bar
from resnets.resource_limits import free_memory

MEMORY_SHARE = 0.4  # of the memory that is free; the rest is for the network, the workers and the user
ESTIMATE_IMAGES = 48  # as many are decoded to guess the size of all
SHOWN_FAILURES = 20
AHEAD = 64  # images that wait for the one before them

Prepare = Callable[[str], np.ndarray]


class Images(Protocol):
    """Prepared uint8 images (H, W, 3) by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class LazyImages:
    """Each image is decoded when it is asked for."""

    def __init__(self, paths: Sequence[str], prepare: Prepare) -> None:
        self.paths, self.prepare = paths, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.prepare(self.paths[index])


class CachedImages:
    """All images decoded once, in parallel, and kept; what comes out equals `Decoded` to the bit.

    Args:
        size: height and width, where all images have the same. Then `whole` holds them, uint8 (N, height, width, 3): one
            large piece of memory, which the system clears in large pages, and which is not copied when it becomes a tensor.

    Raises:
        JobError: images cannot be read; each is named.
    """

    def __init__(self, images: LazyImages, *, size: tuple[int, int] | None = None) -> None:
        failures: list[DecodeError] = []
        self.whole = None if size is None else np.empty((len(images), *size, 3), np.uint8)

        def load(numbered: tuple[int, str]) -> np.ndarray | None:
            index, _ = numbered
            try:
                image = images[index]
            except DecodeError as error:
                failures.append(error)
                return None
            if self.whole is not None:
                self.whole[index] = image
                return None
            return image

        made = ordered_map(load, enumerate(images.paths), workers=None, ahead=AHEAD)
        images = list(progress_bar(made, description="decoding", total=len(images), unit="images"))
        if failures:
            raise JobError(f"{report_unreadable(failures, advice='')}. They could be read when the run began.")
        kept = [image for image in images if image is not None]
        self.images: np.ndarray | list[np.ndarray] = kept if self.whole is None else self.whole

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index]


def report_unreadable(
    failures: Sequence[DecodeError], advice: str = "repair or remove them, or use `on_bad=skip`."
) -> str:
    """Say what is wrong with each file (the first twenty of them), and return the one line of the error."""
    ordered = sorted(failures, key=str)
    for error in ordered[:SHOWN_FAILURES]:
        log(f"  {error}")
    if len(ordered) > SHOWN_FAILURES:
        log(f"  and {len(ordered) - SHOWN_FAILURES} more")
    names = format_list([error.path for error in ordered], SHOWN_FAILURES)
    return f"{pluralize(len(failures), 'image')} cannot be read: {names}{'; ' if advice else ''}{advice}"


def decode_resized(path: str, *, min_side: int) -> np.ndarray:
    """The image at a shorter side of `min_side`, or as it is when it is smaller.

    A random crop of it still has the resolution that the network sees, at a fraction of the memory and time.
    """
    image = decode(path, min_side=min_side)
    left, top, right, bottom = center_strip_box(image.shape[1::-1], min_side)
    image = image[top:bottom, left:right]
    height, width = image.shape[:2]
    if min(height, width) <= min_side:
        return np.ascontiguousarray(image)
    small = functional.resize(as_tensor(image), [min_side], antialias=True)
    return np.ascontiguousarray(small.permute(1, 2, 0).numpy())


class CacheDecision(NamedTuple):
    """Where the prepared images are kept ("ram", or "off": nowhere), how large they are together, and why."""

    where: str
    bytes: int
    reason: str

    def __str__(self) -> str:
        kept = {"ram": "in memory", "off": "nowhere: decoded anew each time"}
        return f"prepared images are kept {kept[self.where]}  ({self.reason})"


def decide_cache(asked: str, images: LazyImages, *, available: int | None = None, advice: str = "") -> CacheDecision:
    """`ram` and `off` are obeyed; `auto` keeps the images in memory when they take less than 40 % of what is free of it.

    Args:
        available: bytes of memory; by default what is free, shared out to the processes on this machine.
        advice: what to do where they do not fit.
    """
    available = free_memory() // ranks.local_world_size() if available is None else available
    size = _estimate(images)
    amount = f"the images take {size / 1e6:,.0f} MB"
    if asked in ("ram", "off"):
        return CacheDecision(asked, size, f"as asked; {amount}")
    fits = size <= MEMORY_SHARE * available
    reason = f"{amount}, {'less' if fits else 'more'} than {MEMORY_SHARE:.0%} of the {available / 1e9:.1f} GB of memory"
    if fits:
        return CacheDecision("ram", size, f"{reason} that are free")
    return CacheDecision("off", size, f"{reason} that are free{'; ' * bool(advice)}{advice}")


def _estimate(images: LazyImages) -> int:
    """Bytes of all prepared images, from some of them spread over the whole list."""

    def of_one(path: str) -> int | None:
        try:
            return images.prepare(path).nbytes
        except DecodeError:  # the loader names it when it is needed
            return None

    some = images.paths[:: max(len(images) // ESTIMATE_IMAGES, 1)]
    sizes = [size for size in ordered_map(of_one, some, workers=None, ahead=AHEAD) if size]
    return round(len(images) * float(np.mean(sizes))) if sizes else 0
