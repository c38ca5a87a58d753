"""Check image files: read a file once, hash it, and find out whether it can be decoded."""

import hashlib
from dataclasses import dataclass

import numpy as np

from resnets.data.check import near_duplicates
from resnets.data.image.decode import DecodeError, ImageInfo, decode, decode_image, inspect
from resnets.data.image.open_image_file import open_image_file, short_reason

VERIFY_SIDE = 64  # a JPEG is read to its end at any scale, and decoded faster at a small one


@dataclass(frozen=True)
class FileResult:
    """What was found in a file; `info` and `thumbnail` are None if the image cannot be read, and `error` says why."""

    path: str
    bytes: int
    sha256: str
    info: ImageInfo | None = None
    thumbnail: np.ndarray | None = None  # (16, 16) uint8
    error: DecodeError | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, after the orientation is applied."""
        assert self.info
        transposed = self.info.orientation >= 5
        return (self.info.height, self.info.width) if transposed else (self.info.width, self.info.height)


def inspect_file(path: str) -> FileResult:
    """Read and decode a whole file, once."""
    info, content, digest = None, b"", ""
    try:
        content = _read(path)
        digest = hashlib.sha256(content).hexdigest()
        info = inspect(content, name=path)
        # The whole file is read at any scale, so that damage is noticed; a small one is decoded faster.
        thumbnail = near_duplicates.make_thumbnail(decode(content, name=path, min_side=4 * near_duplicates.SIDE))
    except DecodeError as error:
        return FileResult(path, len(content), digest, info, error=error)
    return FileResult(path, len(content), digest, info, thumbnail)


def verify_image(path: str) -> tuple[str, DecodeError | None]:
    """The SHA-256 of a file (empty if it cannot be read), and the error if training cannot use the image.

    It is decoded to its end, as in training and evaluation, so that an image without an error here has none later.
    """
    digest = ""
    try:
        content = _read(path)
        digest = hashlib.sha256(content).hexdigest()
        decode_image(content, name=path, min_side=VERIFY_SIDE)
    except DecodeError as error:
        return digest, error
    return digest, None


def _read(path: str) -> bytes:
    try:
        with open_image_file(path) as file:
            return file.read()
    except OSError as error:
        raise DecodeError(path, "missing", f"cannot be read ({short_reason(error)}); check the disk.") from error
