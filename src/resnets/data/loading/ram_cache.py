"""Training images before augmentation: decoded when they are used, or once and kept in memory."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from torchvision.transforms.v2 import functional

from resnets import ranks
from resnets.data.image.decode import DecodeError, decode
from resnets.data.image.resizing import center_strip_box
from resnets.data.loading.augmentation import as_tensor
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError
from resnets.message_format import format_bytes, format_list, num_shown, pluralize
from resnets.progress import log, progress_bar
from resnets.resource_limits import free_memory

MEMORY_FRACTION = 0.4  # of the free memory; the rest is for the network, the workers and the user
NUM_SIZE_SAMPLES = 48  # images that are decoded to estimate the size of all
SHOWN_FAILURES = 20
AHEAD = 64  # images that are decoded before they are asked for

Prepare = Callable[[str], np.ndarray]


class Images(Protocol):
    """Prepared uint8 images (H, W, 3) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class LazyImages:
    """Each image is decoded and prepared when it is asked for."""

    def __init__(self, paths: Sequence[str], prepare: Prepare) -> None:
        self.paths, self.prepare = paths, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.prepare(self.paths[index])


class CachedImages:
    """All images decoded once, in parallel, and kept; equal to those of `LazyImages` to the bit.

    Args:
        size: height and width, if all images have the same. Then `stacked` holds them, uint8 (N, height, width, 3): one
            large piece of memory, which the system clears in large pages, and which is not copied to become a tensor.

    Raises:
        JobError: images cannot be read; each is named.
    """

    def __init__(self, lazy: LazyImages, *, size: tuple[int, int] | None = None) -> None:
        failures: list[DecodeError] = []
        self.stacked = None if size is None else np.empty((len(lazy), *size, 3), np.uint8)

        def load(item: tuple[int, str]) -> np.ndarray | None:
            index, _ = item
            try:
                image = lazy[index]
            except DecodeError as error:
                failures.append(error)
                return None
            if self.stacked is not None:
                self.stacked[index] = image
                return None
            return image

        loaded = ordered_map(load, enumerate(lazy.paths), workers=None, ahead=AHEAD)
        images = list(progress_bar(loaded, description="decoding", total=len(lazy), unit="images"))
        if failures:
            raise JobError(f"{report_unreadable(failures, advice='')}. They could be read when the run began.")
        separate = [image for image in images if image is not None]
        self.images: np.ndarray | list[np.ndarray] = separate if self.stacked is None else self.stacked

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index]


def report_unreadable(
    failures: Sequence[DecodeError], advice: str = "repair or remove them, or use `on_bad=skip`."
) -> str:
    """Log what is wrong with each file (the first twenty of them), and return the one-line message of the error."""
    ordered = sorted(failures, key=str)
    shown = num_shown(len(ordered), SHOWN_FAILURES)
    for error in ordered[:shown]:
        log(f"  {error}")
    if len(ordered) > shown:
        log(f"  and {len(ordered) - shown:,} more")
    names = format_list([error.path for error in ordered], SHOWN_FAILURES)
    return f"{pluralize(len(failures), 'image')} cannot be read: {names}{'; ' if advice else ''}{advice}"


def decode_resized(path: str, *, min_side: int) -> np.ndarray:
    """The image resized to a shorter side of `min_side`, or as it is if it is smaller.

    A random crop of it still has the resolution that the network needs, at a fraction of the memory and time.
    """
    image = decode(path, min_side=min_side)
    left, top, right, bottom = center_strip_box(image.shape[1::-1], min_side)
    image = image[top:bottom, left:right]
    height, width = image.shape[:2]
    if min(height, width) <= min_side:
        return np.ascontiguousarray(image)
    resized = functional.resize(as_tensor(image), [min_side], antialias=True)
    return np.ascontiguousarray(resized.permute(1, 2, 0).numpy())


class CacheDecision(NamedTuple):
    """Whether prepared images are kept in memory ("ram") or not ("off"), their size together, and the reason."""

    mode: str
    bytes: int
    reason: str

    def __str__(self) -> str:
        where = {"ram": "in memory", "off": "nowhere: decoded again each time"}
        return f"prepared images are kept {where[self.mode]}  ({self.reason})"


def decide_cache(
    requested: str, images: LazyImages, *, available: int | None = None, advice: str = ""
) -> CacheDecision:
    """`ram` and `off` are obeyed; `auto` keeps the images in memory if they take less than 40 % of the free memory.

    Args:
        available: bytes of memory; by default the free memory divided by the number of ranks on this machine.
        advice: what to do if they do not fit.

    Returns:
        The decision, with its reason.
    """
    available = free_memory() // ranks.local_world_size() if available is None else available
    size = _estimate_bytes(images)
    amount = f"the images take {format_bytes(size)}"
    if requested in ("ram", "off"):
        return CacheDecision(requested, size, f"as asked; {amount}")
    fits = size <= MEMORY_FRACTION * available
    comparison = "less" if fits else "more"
    reason = (
        f"{amount}, {comparison} than {MEMORY_FRACTION:.0%} of the {format_bytes(available)} of memory that are free"
    )
    if fits:
        return CacheDecision("ram", size, reason)
    return CacheDecision("off", size, f"{reason}{'; ' * bool(advice)}{advice}")


def _estimate_bytes(images: LazyImages) -> int:
    """Bytes of all prepared images, estimated from some of them that are spread over the whole list."""

    def num_bytes(path: str) -> int | None:
        try:
            return images.prepare(path).nbytes
        except DecodeError:  # the loader names the file when it is used
            return None

    paths = images.paths[:: max(len(images) // NUM_SIZE_SAMPLES, 1)]
    sizes = [size for size in ordered_map(num_bytes, paths, workers=None, ahead=AHEAD) if size]
    return round(len(images) * float(np.mean(sizes))) if sizes else 0
