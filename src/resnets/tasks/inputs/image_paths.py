"""Find the images of a command: files, folders, patterns, and lists on stdin."""

import glob
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

from resnets.data.datasets import open_dataset, walk_folders
from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.image.formats import is_image_head
from resnets.data.mask_datasets import read_mask_folders
from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.progress import log
from resnets.weights import local_file

STDIN = "-"
BLOCK = 2**16  # bytes of a list that are read together
MOST_NAMES = 1000  # of files that are no images; more are counted
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def find_images(paths: Sequence[str], stdin: TextIO, unused: UnusedFiles | None = None) -> list[str]:
    """The paths of the images, as a list; see `iterate_images`."""
    return list(iterate_images(paths, stdin, UnusedFiles() if unused is None else unused))


def iterate_images(paths: Sequence[str], stdin: TextIO, unused: UnusedFiles) -> Iterator[str]:
    """The paths of the images, in the order of `paths`, sorted within a folder or pattern. At the end, skipped files are logged.

    A file is used whatever its name, and so is a path that does not exist: reading it gives the error. A folder is replaced
    by the images in it at any depth, except hidden ones. A path with `*`, `?` or `[` that is not a file is a pattern, in which
    `**` matches any folders. `-` is the list on `stdin`, separated by newlines or, if it has any, by NUL characters.

    Memory does not grow with the number of images, but for those that match a pattern.

    Args:
        unused: records the other files of the folders; of many of them the number only.

    Raises:
        UserError: there is no image at all, or a path is a run directory, whose images are figures.
    """
    count = 0
    empty: list[str] = []
    for path in paths:
        before = count
        for image in _expand(path, stdin, unused):
            count += 1
            yield image
        if count == before:
            empty.append("the list on stdin" if path == STDIN else f"'{path}'")
    line = walk_folders.describe_unused(unused)
    if not count:
        raise UserError(f"There are no images in {', '.join(empty)}.{f' {line[0].upper()}{line[1:]}.' if line else ''}")
    if line:
        log(line)
    for name in empty:
        log(f"no images in {name}")


def _expand(path: str, stdin: TextIO, unused: UnusedFiles) -> Iterator[str]:
    if path == STDIN:
        yield from _read_list(stdin)
    elif os.path.isdir(path) and local_file.is_run_dir(path):
        raise UserError(
            f"'{path}' is the run directory of a model, not a folder of images. `ensemble` adds a second model."
        )
    elif os.path.isdir(path):
        if read_mask_folders.recognizes(Path(path)):
            folders = format_list(read_mask_folders.image_folders(Path(path)))
            log(f"'{path}' has masks beside its images, which are predicted, too; the images alone are in {folders}")
        for image in walk_folders.walk_images(Path(path), unused):
            if len(unused.files) > MOST_NAMES:
                walk_folders.count_files(unused)
            yield os.path.join(path, image.relative_to(path))
    elif _URL.match(path) and not os.path.lexists(path):
        raise UserError(f"'{path}' is a URL: download the file and give its path.")
    elif not os.path.lexists(path) and glob.has_magic(path):
        for match in sorted(glob.glob(path, recursive=True)):
            if not os.path.isdir(match):
                yield match
    else:
        if not os.path.lexists(path) and (hint := open_dataset.suggest_path(Path(path))):
            log(f"'{path}' does not exist.{hint}")
        yield path


def _read_list(stdin: TextIO) -> Iterator[str]:
    # File names are bytes; a text stream may refuse some of them.
    stream: BinaryIO = stdin.buffer if hasattr(stdin, "buffer") else io.BytesIO(os.fsencode(stdin.read()))
    content = stream.read(BLOCK)
    if is_image_head(content[:64]):
        raise UserError("stdin has an image, not a list of file names: write the image to a file and give its path.")
    has_nul = b"\0" in content  # a path is shorter than a block
    while content:
        block = stream.read(BLOCK)
        # The last name may go on in the next block, and so may a line end of two characters.
        end = 1 + (content.rfind(b"\0") if has_nul else content.rfind(b"\n")) if block else len(content)
        entries = content[:end].split(b"\0") if has_nul else content[:end].splitlines()
        yield from (os.fsdecode(entry) for entry in entries if entry)
        content = content[end:] + block
