"""A file of its own for each predicted image in a folder."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from resnets import atomic_write
from resnets.progress import log

_QUALITY = 92  # of JPEG files


def choose_files(folder: Path, taken: set[str] | None = None) -> Callable[[str, str], Path]:
    """A function of the path of an image and a suffix: a file in `folder` that no other image has. Where another image has the
    same name, that of the file gets a number, and is logged.

    Args:
        taken: names that no image gets.
    """
    atomic_write.check_folder_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    used = set(taken or ())

    def choose(path: str, suffix: str) -> Path:
        stem = Path(path).stem
        names = (f"{stem if number == 1 else f'{stem}-{number}'}{suffix}" for number in itertools.count(1))
        name = next(name for name in names if name not in used)
        used.add(name)
        if name != f"{stem}{suffix}":
            log(f"'{path}' is written as '{folder / name}', since another file has its name")
        return folder / name

    return choose


def save_jpeg(pixels: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write.replace_file(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, "JPEG", quality=_QUALITY)
