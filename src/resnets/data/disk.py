"""Prepared pictures on the disk: each is decoded once, by whichever run or process needs it first, and read from then on.

One file a picture, named by the SHA-256 of the picture's bytes, in a folder named by what was done to it. So an edited
picture, another size or another release of the decoder is another file, and runs on the same pictures share theirs. Files
appear by renaming and hold a checksum: one that is damaged is decoded again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
import torch
import torchvision
from PIL import features

from resnets import processes
from resnets.data.builtin import cache_home
from resnets.data.hashing import sha256
from resnets.progress import say

SHARE = 0.25  # of the space that is free or taken by such pictures already: the most that they take together
VERSION = 1  # of the files and of the preparation: a change in the decoder or in `shrunken` needs a new one
SUFFIX, UNFINISHED = ".rgb", ".writing"
_HEAD = struct.Struct("<8sIII")  # mark, height and width in pixels, CRC-32 of the pixels
_MARK = b"resnets\x01"


class OnDisk:
    """Pictures of which each is prepared when it is first asked for; what comes out equals `prepare` of it to the bit.

    Several processes may fill one folder. When the disk is full, the rest is decoded anew each time, which is said.
    """

    def __init__(
        self, paths: Sequence[str], prepare: functools.partial[np.ndarray], hashes: Sequence[str], place: Path
    ) -> None:
        self.paths, self.prepare, self.hashes, self.place = paths, prepare, hashes, place
        self._growing = True

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        file = _file(self.place, self.hashes[index])
        picture = _read(file)
        if picture is None:
            picture = self.prepare(self.paths[index])
            self._keep(index, file, picture)
        return picture

    def _keep(self, index: int, file: Path, picture: np.ndarray) -> None:
        if not self._growing:
            return
        try:
            # What was decoded may be another picture than the one that was hashed when the run began.
            if sha256(self.paths[index]) == self.hashes[index]:
                _write(file, picture)
        except OSError as error:
            if not file.exists():  # else another process was faster, and Windows replaces no file that is being read
                self._growing = False
                say(f"no further pictures are kept in '{self.place}': {error.strerror}")


def folder(prepare: functools.partial[np.ndarray]) -> Path:
    """Where pictures that were prepared in this way are kept: another folder for other settings or another decoder."""
    libraries = (PIL.__version__, torch.__version__, torchvision.__version__, platform.machine())
    coders = tuple(features.version(name) for name in ("jpg", "libjpeg_turbo", "webp", "libtiff", "zlib"))
    facts = (VERSION, prepare.func.__qualname__, sorted(prepare.keywords.items()), libraries, coders)
    return home() / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def home() -> Path:
    """Under it lie all kept pictures; it can be removed at any time."""
    return cache_home() / "prepared-pictures"


class Room(NamedTuple):
    """Whether there is room, and the reason either way."""

    enough: bool
    reason: str


def room(size: int, place: Path, hashes: Sequence[str]) -> Room:
    """See to it that these pictures, `size` bytes together, can be kept in `place`.

    Of what other pictures take beyond the limit, the files that were used least recently are removed. A run that is still
    using them decodes those pictures again. Of several processes on a machine only the first removes anything.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Room(False, f"'{place}' cannot be written to ({error.strerror})")
    mine = {_file(place, each) for each in hashes}
    kept = _kept()
    others = sorted((each for each in kept if each.path not in mine), key=lambda each: each.used)
    limit = SHARE * (free + sum(each.size for each in kept))
    rule = f"{SHARE:.0%} of the {limit / SHARE / 1e9:,.1f} GB that are free on the disk"
    if size > limit:
        return Room(False, f"more than {rule}")
    if processes.local_rank() == 0:
        _remove(others, excess=size + sum(each.size for each in others) - limit)
        for each in kept:
            if each.path in mine:
                with contextlib.suppress(OSError):  # another user's
                    os.utime(each.path)
    return Room(True, f"less than {rule}")


class _Kept(NamedTuple):
    path: Path
    size: int  # bytes
    used: float  # when a run that has it began last, or when it was written


def _kept() -> list[_Kept]:
    """All files of ours, the unfinished ones of killed processes too; what vanishes meanwhile is left out."""
    found = []
    for top in os.scandir(home()) if home().is_dir() else ():
        if not re.fullmatch(r"[0-9a-f]{16}", top.name):
            continue  # not ours
        for where, _, names in os.walk(top.path):
            for name in names:
                if name.endswith((SUFFIX, UNFINISHED)):
                    with contextlib.suppress(OSError):
                        facts = os.stat(os.path.join(where, name))
                        found.append(_Kept(Path(where, name), facts.st_size, facts.st_mtime))
    return found


def _remove(files: Sequence[_Kept], *, excess: float) -> None:
    """The first ones, until so many bytes are gone; what cannot be removed stays."""
    removed = 0
    for each in files:
        if removed >= excess:
            break
        with contextlib.suppress(OSError):
            each.path.unlink()
            removed += each.size
    if removed:
        say(f"  removed pictures that earlier runs had prepared, {removed / 1e6:,.1f} MB in '{home()}'")


def _file(place: Path, sha: str) -> Path:
    return place / sha[:2] / f"{sha}{SUFFIX}"


def _read(path: Path) -> np.ndarray | None:
    """The picture (h, w, 3) in the file; None if it is not there and whole.

    It is read, not mapped: the checksum looks at every byte, and a disk that fails under a map kills the process.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError:
        return None
    if len(raw) < _HEAD.size:
        return None
    mark, height, width, checksum = _HEAD.unpack(raw[: _HEAD.size].tobytes())
    pixels = raw[_HEAD.size :]
    if mark != _MARK or len(pixels) != 3 * height * width or zlib.crc32(pixels.data) != checksum:
        return None
    return pixels.reshape(height, width, 3)


def _write(path: Path, picture: np.ndarray) -> None:
    """Without fsync, unlike what cannot be made again: after a loss of power the checksum tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.ascontiguousarray(picture)
    height, width, _ = picture.shape
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_HEAD.pack(_MARK, height, width, zlib.crc32(picture.data)))
            file.write(picture.data)
        os.chmod(temporary, 0o644)  # mkstemp gives 0600, but a folder of RESNETS_HOME may be shared
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
