"""The datasets that `resnets data get` writes: handwritten digits, scenes of several digits and generated shapes, which need no
network, and CIFAR-10, which is downloaded.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from resnets.atomic_write import check_folder_writable
from resnets.cache_dir import cache_dir
from resnets.data.datasets import cifar10, digits, generate_digit_scenes, generate_shapes
from resnets.errors import JobError, UserError
from resnets.message_format import format_list, suggestion

NAMES = ("digits", "digit-scenes", "shapes")
DOWNLOADED = (cifar10.NAME,)  # never by another command than `data get`
VERSION = 1  # of the files; increase it if they change


def write(
    name: str,
    out: str | Path,
    *,
    size: int | None = None,
    count: int | None = None,
    seed: int | None = None,
    objects: int | None = None,
) -> Path:
    """Write a dataset as PNG images in `out/{train,val,test}` (in class folders unless they are scenes); return `out`.

    Args:
        name: `digits`, `digit-scenes` or `shapes`; or `cifar10`, which is downloaded and has no val split.
        out: a folder that is empty or does not exist yet.
        size: side of the images in pixels, not of cifar10; 32 for digits, 64 for the others.
        count: number of images, of generated ones only; 2,000 for digit-scenes, 600 for shapes.
        seed: of generated images only; 0.
        objects: the largest number of shapes in an image, of shapes only; 1.

    Returns:
        The path `out`.

    Raises:
        UserError: an unknown name, a folder that is not empty or cannot be written to, a value out of range, or a download
            while RESNETS_OFFLINE is set.
        JobError: the disk is full, or the download failed.
    """
    out = Path(out)
    known = (*NAMES, *DOWNLOADED)
    if name not in known:
        raise UserError(
            f"No built-in data '{name}'.{suggestion(name, known)} There are {format_list(known, quote=False)}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is not an empty folder. Choose a new one; nothing was written.")
    unsuitable = {
        "digits": {"`count`": count, "`seed`": seed, "`objects`": objects},
        "digit-scenes": {"`objects`": objects},
        cifar10.NAME: {"`size`": size, "`count`": count, "`seed`": seed, "`objects`": objects},
    }
    if refused := [argument for argument, value in unsuitable.get(name, {}).items() if value is not None]:
        of_others = {"`objects`": "shapes", "`size`": "digits, digit-scenes and shapes"}
        others = of_others.get(refused[0], "digit-scenes and shapes")
        raise UserError(f"{refused[0]} has no meaning for {name}; it is for {others}.")
    if name == "digits":
        side = digits.SIDE if size is None else size
        if not 8 <= side <= 1024:
            raise UserError(f"The size of the digits is {side}; they are 8 pixels wide, so choose 8 to 1024.")
        write_files: Callable[[Path], None] = partial(digits.write, side=side)
    elif name == "digit-scenes":
        scenes = generate_digit_scenes.make_settings(size=size, count=count, seed=seed)
        write_files = partial(generate_digit_scenes.write, settings=scenes)
    elif name == cifar10.NAME:
        check_folder_writable(out)
        write_files = partial(cifar10.write, archive=cifar10.download())
    else:
        shapes = generate_shapes.make_settings(size=size, count=count, seed=seed, objects=objects)
        write_files = partial(generate_shapes.write, settings=shapes)
    check_folder_writable(out)
    with staged_folder(out) as folder:
        write_files(folder)
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
        problem = f"Cannot write to '{home}': {error.strerror}"
        raise JobError(f"{problem}. Set RESNETS_HOME to a folder that can be written.") from error
    try:
        write(name, staging)
        staging.chmod(0o755)  # mkdtemp gives 0700, but a cache may be shared
        with contextlib.suppress(OSError):  # another process was faster; what it wrote is the same
            staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return final


@contextlib.contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
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
