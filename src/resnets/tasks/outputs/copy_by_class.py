"""Copy images into one folder per class."""

import filecmp
import hashlib
import itertools
import re
import shutil
from pathlib import Path

from resnets import atomic_write
from resnets.errors import JobError

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]|^\.+|[. ]+$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows
_MAX_LENGTH = 50  # characters; file systems allow 255 bytes, and a character may take four


def folder_name(label: str) -> str:
    """`label` where it is a valid folder name on every system; else a safe name that no other label has."""
    safe = _UNSAFE.sub("_", label)[:_MAX_LENGTH]
    if safe == label and not _RESERVED.fullmatch(label):
        return label
    return f"{safe}-{hashlib.sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def copy(image: str | Path, label: str, out: str | Path) -> Path:
    """Copy `image` to `out/label/`, under its own name or, where that is taken, `name-2`, `name-3`, …

    Nothing is overwritten. A file of that name with the same content is a copy of an earlier run, and stays.

    Raises:
        JobError: it cannot be written.
    """
    image = Path(image)
    folder = Path(out) / folder_name(label)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            target = folder / (image.name if number == 1 else f"{image.stem}-{number}{image.suffix}")
            try:
                target.open("xb").close()  # reserved, against other processes that copy here
            except FileExistsError:
                if target.is_file() and filecmp.cmp(image, target, shallow=False):
                    return target
                continue
            break
    except OSError as error:
        problem = f"Cannot write to '{folder}': {error.strerror}"
        raise JobError(f"{problem}. Choose another folder with `sort_into`.") from error
    try:
        with atomic_write.replace_file(target) as temporary:
            shutil.copyfile(image, temporary)
    except BaseException:
        target.unlink(missing_ok=True)  # still empty
        raise
    return target
