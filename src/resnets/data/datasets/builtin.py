"""The built-in datasets, which need no network: handwritten digits and generated shapes."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resnets.atomic_write import check_folder_writable
from resnets.cache_dir import cache_dir
from resnets.data.datasets import generate_shapes
from resnets.errors import JobError, UserError
from resnets.message_format import suggestion
from resnets.progress import progress_bar

NAMES = ("digits", "shapes")
VERSION = 1  # of the files; increase it if they change

DIGITS_SIDE = 32
DIGITS_FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def write(
    name: str,
    out: str | Path,
    *,
    size: int | None = None,
    count: int | None = None,
    seed: int | None = None,
    objects: int | None = None,
) -> Path:
    """Write a built-in dataset as PNG images in `out/{train,val,test}/CLASS/`, and return `out`.

    Args:
        name: `digits` or `shapes`.
        out: a folder that is empty or does not exist yet.
        size: side of the images in pixels; 32 for digits, 64 for shapes.
        count: number of images, of shapes only; 600.
        seed: of shapes only; 0.
        objects: the largest number of shapes in an image, of shapes only; 1.

    Returns:
        The path `out`.

    Raises:
        UserError: an unknown name, a folder that is not empty or cannot be written to, or a value out of range.
        JobError: the disk is full.
    """
    out = Path(out)
    if name not in NAMES:
        raise UserError(f"No built-in data '{name}'.{suggestion(name, NAMES)} There is {' and '.join(NAMES)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is not an empty folder. Choose a new one; nothing was written.")
    if name == "digits":
        shapes_only = {"`count`": count, "`seed`": seed, "`objects`": objects}
        refused = [argument for argument, value in shapes_only.items() if value is not None]
        if refused:
            raise UserError(f"digits is a fixed set of 1,797 images; {refused[0]} is for shapes.")
        side = DIGITS_SIDE if size is None else size
        if not 8 <= side <= 1024:
            raise UserError(f"The size of the digits is {side}; they are 8 pixels wide, so choose 8 to 1024.")
        check_folder_writable(out)
        with _staged_folder(out) as folder:
            _write_digits(folder, side)
        return out
    settings = generate_shapes.make_settings(size=size, count=count, seed=seed, objects=objects)
    check_folder_writable(out)
    with _staged_folder(out) as folder:
        generate_shapes.write(folder, settings)
    return out


def cached_folder(name: str) -> Path:
    """The folder of a built-in dataset in the cache directory, written on first use; safe with several processes."""
    home = cache_dir() / "data"
    final = home / f"{name}-{VERSION}"
    if final.is_dir():
        return final
    try:
        home.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=home, prefix=f".{name}-"))
    except OSError as error:
        raise JobError(
            f"Cannot write to '{home}': {error.strerror}. Set RESNETS_HOME to a folder that can be written."
        ) from error
    try:
        write(name, staging)
        staging.chmod(0o755)  # mkdtemp gives 0700, but a cache may be shared
        with contextlib.suppress(OSError):  # another process was faster; what it wrote is the same
            staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return final


@contextlib.contextmanager
def _staged_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, whose content is moved to `out` after the block; nothing is left if the block fails."""
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=out, prefix=".writing-"))
    except OSError as error:
        raise JobError(f"Cannot write to '{out}': {error.strerror}.") from error
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            path.rename(out / path.name)
    except OSError as error:
        raise JobError(f"Cannot write to '{out}': {error.strerror}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _write_digits(folder: Path, side: int) -> None:
    """The test split of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), as scikit-learn
    ships it: 1,797 digits of 8x8 values from 0 to 16. They are scaled to 0 … 255 and enlarged with a bicubic filter,
    which adds no information. Every class is split 60 : 20 : 20 in a fixed order; a file's name is scikit-learn's index.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    splits = {
        index: split for digit in range(10) for index, split in _digits_splits(np.flatnonzero(labels == digit).tolist())
    }
    for index in progress_bar(range(len(images)), description="writing", unit="images"):
        values = np.rint(images[index].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        class_folder = folder / splits[index] / str(labels[index])
        class_folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC).save(class_folder / f"{index:04}.png")


def _digits_splits(indices: list[int]) -> Iterator[tuple[int, str]]:
    # The order of a hash is the same on every machine and in every version, which the shuffle of a library does not promise.
    ordered = sorted(indices, key=lambda index: hashlib.sha256(f"digits {index}".encode()).digest())
    start = 0.0
    for split, fraction in DIGITS_FRACTIONS.items():
        for index in ordered[round(start * len(ordered)) : round((start + fraction) * len(ordered))]:
            yield index, split
        start += fraction
