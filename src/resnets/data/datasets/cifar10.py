"""CIFAR-10 (Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images), downloaded and written as class folders."""

import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.cache_dir import cache_dir
from resnets.downloads import cached_download
from resnets.errors import JobError
from resnets.progress import log, progress_bar

NAME = "cifar10"
# In the order of the labels, which is that of the alphabet (`batches.meta.txt` in the archive).
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN, TEST = tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"
SIDE = 32  # of an image, in pixels
_RECORD = 1 + 3 * SIDE**2  # bytes: the label, then the red, green and blue planes in rows (the page of the dataset)
_MIB = 2**20
# Of members that are not read, such as a readme; the published archive has three with 100 bytes in all.
_OTHER_BYTES = _MIB


@dataclass(frozen=True)
class Archive:
    """`digest` is that of the file; `num_bytes` its size. It has six files of `batch_size` images."""

    url: str
    digest: str
    num_bytes: int
    batch_size: int = 10_000


# The hash is in the checksums of TensorFlow Datasets; https://www.cs.toronto.edu/~kriz/cifar.html gives the md5 of the same file.
ARCHIVE = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
)


def download() -> Path:
    """The archive in the cache directory, downloaded if needed and compared with the published hash each time.

    Raises:
        UserError: RESNETS_OFFLINE is set and it is not on this machine, or RESNETS_MIRROR is not a URL.
        JobError: the download failed, or the file is not the published one.
    """
    final = cache_dir() / "data" / ARCHIVE.url.rpartition("/")[2]
    with cached_download.lock(final, NAME):
        if not final.is_file():
            if not cached_download.offline():
                log(f"{NAME}: {ARCHIVE.num_bytes / _MIB:.0f} MiB will be downloaded once, to '{final}'")
            cached_download.download(ARCHIVE.url, final, ARCHIVE.digest, NAME, _describe)
    cached_download.check(final, ARCHIVE.digest, NAME)
    return final


def write(folder: Path, archive: Path) -> None:
    """Write `folder/{train,test}/CLASS/NNNNN.png`; the number is that of the image in the original order, from 0 in each split.

    Raises:
        JobError: the archive is damaged, or is not one of CIFAR-10.
    """
    for split in ("train", "test"):
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
    images, count = read(archive, ARCHIVE.batch_size), 6 * ARCHIVE.batch_size
    for split, index, number, pixels in progress_bar(images, description="writing", total=count, unit="images"):
        Image.fromarray(pixels).save(folder / split / CLASSES[number] / f"{index:05}.png")


def read(archive: Path, batch_size: int) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """Yield split, number, label and pixels, uint8 (SIDE, SIDE, 3), of each image of the archive.

    Nothing is unpacked: six files are read by their names, and an archive with other sizes, links in their place or more
    bytes than they have is refused.

    Raises:
        JobError: the archive is damaged, or is not one of CIFAR-10.
    """
    wanted, found = {*TRAIN, TEST}, set[str]()
    size = batch_size * _RECORD
    try:
        with gzip.open(archive) as unzipped:
            limited = _Limited(unzipped, len(wanted) * size + _OTHER_BYTES)
            with tarfile.open(fileobj=limited, mode="r|") as members:  # type: ignore[call-overload]
                for member in members:
                    name = member.name.rpartition("/")[2]
                    if name not in wanted or name in found:
                        continue
                    file = members.extractfile(member) if member.isreg() and member.size == size else None
                    if file is None:
                        raise _UnexpectedError(f"'{name}' in it is no file of {size:,} bytes")
                    found.add(name)
                    yield from _images(name, file.read(), batch_size)
    except (OSError, EOFError, tarfile.TarError, _UnexpectedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise JobError(
            f"'{archive}' cannot be read as CIFAR-10: {error}. Remove it, and it is downloaded again."
        ) from error
    if missing := sorted(wanted - found):
        raise JobError(f"'{archive}' has no '{missing[0]}'. Remove it, and it is downloaded again.")


class _UnexpectedError(Exception):
    """The archive is not as published."""


class _Limited:
    """A file whose reading ends with an error after so many bytes: a small archive may unpack to any number."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.file, self.left = file, limit

    def read(self, count: int) -> bytes:
        content = self.file.read(min(count, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise _UnexpectedError("it has more bytes than published")
        return content


def _images(name: str, content: bytes, batch_size: int) -> Iterator[tuple[str, int, int, np.ndarray]]:
    records = np.frombuffer(content, np.uint8).reshape(batch_size, _RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise _UnexpectedError(f"'{name}' in it has a label of {records[:, 0].max()}")
    first = 0 if name == TEST else TRAIN.index(name) * batch_size
    pixels = records[:, 1:].reshape(batch_size, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    for index in range(batch_size):
        yield (
            "test" if name == TEST else "train",
            first + index,
            int(records[index, 0]),
            np.ascontiguousarray(pixels[index]),
        )


def _describe(path: Path) -> str:
    with path.open("rb") as file:
        return "another gzip file" if file.read(2) == b"\x1f\x8b" else "no gzip file"
