"""Prepared pictures on the disk: each is decoded once, by whichever run or process needs it first, and then mapped.

One file a picture, named by the SHA-256 of the picture's bytes, in a folder named by what was done to it. So an edited
picture, another size or another release of the decoder is another file, and runs on the same pictures share theirs. Files
appear by renaming and end with a checksum: one that is damaged is decoded again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL
import torchvision

from resnets.data.builtin import cache_home
from resnets.progress import say

SHARE = 0.25  # of the space that is free or taken by such pictures already: the most that they take together
VERSION = 1  # of the files and of the preparation; a new one is a new folder
SUFFIX = ".rgb"
_HEAD = struct.Struct("<8sIII")  # mark, height and width in pixels, CRC-32 of the pixels
_MARK = b"resnets\x01"


class OnDisk:
    """Pictures of which each is decoded when it is first asked for; what comes out equals `decoded` of it to the bit.

    Several processes may fill one folder. When the disk is full, the rest is decoded anew each time, which is said once.
    """

    def __init__(self, decoded: Callable[[int], np.ndarray], keys: Sequence[str], folder: Path) -> None:
        self.decoded, self.keys, self.folder = decoded, keys, folder
        self._growing = True

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> np.ndarray:
        key = self.keys[index]
        path = self.folder / key[:2] / f"{key}{SUFFIX}"
        picture = _mapped(path)
        if picture is None:
            picture = self.decoded(index)
            self._keep(path, picture)
        return picture

    def _keep(self, path: Path, picture: np.ndarray) -> None:
        if not self._growing:
            return
        try:
            _write(path, picture)
        except OSError as error:
            self._growing = False
            say(f"no further pictures are kept in '{self.folder}': {error.strerror}")


def folder(prepare: functools.partial[np.ndarray]) -> Path:
    """Where pictures that were prepared in this way are kept: another folder for another setting or decoder."""
    facts = (
        VERSION,
        prepare.func.__qualname__,
        sorted(prepare.keywords.items()),
        PIL.__version__,
        torchvision.__version__,
    )
    return home() / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def home() -> Path:
    """Under it lie all kept pictures; it can be removed at any time."""
    return cache_home() / "pictures"


def room(size: int, place: Path) -> str | None:
    """Make room for `size` bytes in `place`: what was used least recently goes. None, or why there is no room."""
    taken = {each: _taken(each) for each in _folders()}
    try:
        home().mkdir(parents=True, exist_ok=True)
        limit = SHARE * (shutil.disk_usage(home()).free + sum(taken.values()))
    except OSError as error:
        return f"'{home()}' cannot be used: {error.strerror}"
    if size > limit:
        return f"more than {SHARE:.0%} of the {limit / SHARE / 1e9:,.1f} GB that are free on the disk"
    taken.pop(place, None)
    for oldest in sorted(taken, key=_last_used):
        if size + sum(taken.values()) <= limit:
            break
        say(f"  removed pictures kept for earlier runs, {taken.pop(oldest) / 1e6:,.0f} MB in '{oldest}'")
        shutil.rmtree(oldest, ignore_errors=True)
    with contextlib.suppress(OSError):  # a folder that another user filled can still be read
        place.mkdir(exist_ok=True)
        os.utime(place)
    return None


def _folders() -> list[Path]:
    return [each for each in home().iterdir() if each.is_dir()] if home().is_dir() else []


def _taken(place: Path) -> int:
    total = 0
    for file in place.rglob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def _last_used(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0.0


def _mapped(path: Path) -> np.ndarray | None:
    """The picture (h, w, 3) in the file, mapped so that a change stays in memory; None if it is not there and whole."""
    try:
        file = np.memmap(path, np.uint8, mode="c")
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    if len(file) < _HEAD.size:
        return None
    mark, height, width, checksum = _HEAD.unpack(file[: _HEAD.size].tobytes())
    pixels = np.asarray(file[_HEAD.size :])
    if mark != _MARK or len(pixels) != 3 * height * width or zlib.crc32(pixels.data) != checksum:
        return None
    return pixels.reshape(height, width, 3)


def _write(path: Path, picture: np.ndarray) -> None:
    """Without fsync, unlike what cannot be made again: after a loss of power the checksum tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.ascontiguousarray(picture)
    height, width, _ = picture.shape
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".writing")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_HEAD.pack(_MARK, height, width, zlib.crc32(picture.data)))
            file.write(picture.data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
