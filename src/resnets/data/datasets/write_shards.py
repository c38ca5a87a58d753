"""Write shards: tars by the WebDataset library, and the index of their images that `read_shards` reads."""

import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from resnets.atomic_write import check_folder_writable, replace_file, write_text
from resnets.data.datasets.dataset import Dataset, Sample, relative_path
from resnets.data.datasets.read_shards import FORMAT, INDEX, MANIFEST, ROW, hash_group, is_unfinished
from resnets.data.image.decode import DecodeError, decode_image, inspect
from resnets.data.image.formats import ALL_SUFFIXES
from resnets.data.image.open_image_file import open_image_file
from resnets.data.image.resizing import resize_shorter_side
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.progress import log, progress_bar

_SUFFIXES = sorted(ALL_SUFFIXES)
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000")
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_AHEAD = 64  # images that are read before they are written


def write(
    out: str | Path, dataset: Dataset, *, seed: int = 123, size_mb: float = 500.0, resize: int | None = None
) -> dict[str, int]:
    """Write the images of `dataset`, which is split, as shards of about `size_mb` million bytes into `out`.

    The files keep their bytes. Training images are shuffled with `seed`. The same dataset gives the same bytes.

    Args:
        resize: larger images are decoded as training decodes them and resized to this shorter side in pixels (bilinear with
            antialiasing, as `Preprocess` resizes); images of lossy formats become JPEG of quality 95 without chroma
            subsampling, all others PNG. No image is enlarged.

    Returns:
        The number of shards of each split.

    Raises:
        UserError: the library is missing, `resize` is below 1, or `out` is not an empty folder.
        JobError: an image can no longer be read, or `out` cannot be written.
    """
    out = Path(out)
    check_output_dir(out)
    if size_mb <= 0:
        raise UserError(f"`size_mb` is {size_mb:g}; it is the size of a shard in millions of bytes, such as 500.")
    if resize is not None and resize < 1:
        raise UserError(f"`resize` is {resize}; it is a shorter side in pixels, such as 256.")
    if others := [sample.path for sample in dataset.samples if sample.label is None]:
        raise UserError(f"Shards hold one label for each image; '{others[0]}' has none, or several.")
    shards: list[dict[str, Any]] = []
    num_resized = 0
    rows = [np.empty(0, ROW)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for split in dataset.splits:
            samples = _Shuffled(dataset.subset(split), seed if split == "train" else None)
            members = ordered_map(partial(_read_member, resize=resize), samples, workers=None, ahead=_AHEAD)
            bar = progress_bar(members, description=f"writing {split}", total=len(samples), unit="images")
            for path, tar_rows, tar_resized in _write_tars(
                out, split, bar, dataset, sum(map(len, rows)), size_mb * 1e6
            ):
                rows.append(tar_rows)
                num_resized += tar_resized
                facts = {"count": len(tar_rows), "bytes": path.stat().st_size, "sha256": sha256(path)}
                shards.append({"file": path.name, "split": split, **facts})
    except DecodeError as error:
        raise JobError(f"{error} It could be read when the writing began; '{out}' is unfinished, remove it.") from error
    except OSError as error:
        raise JobError(f"Cannot write to '{out}': {error.strerror or error}. It is unfinished, remove it.") from error
    with replace_file(out / INDEX) as temporary:
        np.save(temporary, np.concatenate(rows), allow_pickle=False)
    if resize is not None:
        count = sum(map(len, rows))
        log(f"{num_resized:,} of {count:,} images were resized to a shorter side of {resize}; none was enlarged")
    manifest = {
        "format": FORMAT,
        "classes": dataset.class_names,
        "suffixes": _SUFFIXES,
        "index_sha256": sha256(out / INDEX),
    }
    sizes = {} if resize is None else {"resize": resize}
    write_text(out / MANIFEST, json.dumps({**manifest, **sizes, "shards": shards}, indent=1) + "\n")
    return {split: sum(shard["split"] == split for shard in shards) for split in dataset.splits}


def check_output_dir(out: str | Path) -> None:
    """Refuse a folder that `write` could not use, before the work; UserError or JobError as there."""
    out = Path(out)
    try:
        import webdataset  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "webdataset":
            raise
        raise UserError(
            "Shards are written with webdataset, which is not installed: pip install 'resnets[shards]'."
        ) from None
    if is_unfinished(out):
        raise UserError(f"'{out}' holds shards whose writing did not end. Remove it, or choose a new folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is not an empty folder. Choose a new one; nothing was written.")
    check_folder_writable(out)


@dataclass
class _Shuffled:
    """The samples shuffled with a seed; unchanged without one."""

    samples: Sequence[Sample]
    seed: int | None

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        order = list(range(len(self)))
        if self.seed is not None:
            random.Random(self.seed).shuffle(order)
        return (self.samples[index] for index in order)


class _Member(NamedTuple):
    sample: Sample
    suffix: str
    content: bytes
    resized: bool
    digest: bytes  # SHA-256 of the file before it was resized


def _read_member(sample: Sample, *, resize: int | None) -> _Member:
    with open_image_file(sample.path) as file:
        content = file.read()
    digest = bytes.fromhex(sample.sha256) if sample.sha256 else hashlib.sha256(content).digest()
    if resize is None or min(inspect(content, name=sample.path)[2:4]) <= resize:
        return _Member(sample, _suffix(sample.path), content, False, digest)
    image = decode_image(content, name=sample.path, min_side=2 * resize)  # the margin of `Preprocess`
    format_ = "JPEG" if inspect(content, name=sample.path).format in _LOSSY else "PNG"
    file = io.BytesIO()
    resized = resize_shorter_side(image, resize, Image.Resampling.BILINEAR)
    resized.save(file, format_, **(_JPEG if format_ == "JPEG" else {}))
    return _Member(sample, ".jpg" if format_ == "JPEG" else ".png", file.getvalue(), True, digest)


def _write_tars(
    out: Path, split: str, members: Iterable[_Member], dataset: Dataset, index: int, size: float
) -> Iterator[tuple[Path, np.ndarray, int]]:
    """Write the images into tars, numbered from `index` on. Yields each full tar with its rows of the index and the number of
    images that were resized.
    """
    iterator = iter(members)
    member = next(iterator, None)
    labels = {name: label for label, name in enumerate(dataset.class_names)}
    num_tars = 0
    while member is not None:
        path, num_tars = out / f"{split}-{num_tars:06d}.tar", num_tars + 1
        rows: list[tuple[Any, ...]] = []
        num_resized = 0
        with _open_tar(path) as (tar, file):
            while member is not None and (not rows or file.tell() < size):
                sample, suffix, content, resized, digest = member
                label, num_resized = labels[sample.label or ""], num_resized + resized
                facts = {"label": sample.label, "path": relative_path(str(dataset.root), sample.path)}
                entry = {suffix[1:]: content, "cls": str(label).encode(), "json": json.dumps(facts).encode()}
                tar.write({"__key__": f"{index:08d}", **entry})
                rows.append((label, sample.weight, _SUFFIXES.index(suffix), digest, hash_group(sample.group)))
                member, index = next(iterator, None), index + 1
        yield path, _index_rows(path, rows), num_resized


@contextmanager
def _open_tar(path: Path) -> Iterator[tuple[Any, BinaryIO]]:
    """A writer of samples into the tar at `path`, and its file. No time and no user is written into it."""
    from webdataset import TarWriter

    with path.open("wb") as file:
        with TarWriter(file, user="", group="", mtime=0, compress=False, encoder=False) as tar:
            yield tar, file
        file.flush()
        os.fsync(file.fileno())


def _suffix(path: str) -> str:
    """The suffix of the file if it is that of an image format, else the suffix for its content."""
    suffix = Path(path).suffix.lower()
    if suffix in ALL_SUFFIXES:
        return suffix
    of_content = f".{inspect(path).format.lower()}"
    return of_content if of_content in ALL_SUFFIXES else ".jpg"


def _index_rows(path: Path, rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """The index of a tar: offset and size of its images by its headers, and the other fields of ROW from `rows`."""
    positions = []
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            if Path(member.name).suffix in ALL_SUFFIXES:
                positions.append((member.offset_data, member.size))
            tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them in memory
    result = np.zeros(len(rows), ROW)
    result["offset"], result["size"] = np.array(positions, dtype=np.int64).T
    for name, values in zip(("label", "weight", "suffix", "sha256", "group"), zip(*rows, strict=True), strict=True):
        result[name] = values
    return result
