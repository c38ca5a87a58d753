"""The images that the words of a command stand for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from resnets.data.datasets import walk_folders
from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.image.formats import is_image_head
from resnets.errors import UserError
from resnets.progress import log

STDIN = "-"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def images(words: Sequence[str], stdin: TextIO, unused: UnusedFiles | None = None) -> list[str]:
    """The paths, in the order of the words, and within a folder or pattern by name. What is passed over is said.

    A file is taken whatever it is called, and so is what does not exist: whoever reads it will say so. A folder stands
    for the images in it at any depth, hidden ones left out. A word with `*`, `?` or `[` that is no file is a pattern, in
    which `**` stands for any folders. `-` stands for the list on `stdin`, divided by newlines or, when there is one in it,
    by NUL characters.

    Args:
        unused: takes what folders hold besides.

    Raises:
        UserError: there is no image at all; the message names the words.
    """
    unused = UnusedFiles() if unused is None else unused
    found: list[str] = []
    empty: list[str] = []
    for word in words:
        before = len(found)
        found.extend(_of_word(word, stdin, unused))
        if len(found) == before:
            empty.append("the list on stdin" if word == STDIN else f"'{word}'")
    line = walk_folders.describe_unused(unused)
    if not found:
        raise UserError(f"There are no images in {', '.join(empty)}.{f' {line[0].upper()}{line[1:]}.' if line else ''}")
    if line:
        log(line)
    for word in empty:
        log(f"no images in {word}")
    return found


def _of_word(word: str, stdin: TextIO, unused: UnusedFiles) -> Iterator[str]:
    if word == STDIN:
        # Names of files are bytes; what reads text might refuse some of them.
        yield from _listed(stdin.buffer.read() if hasattr(stdin, "buffer") else os.fsencode(stdin.read()))
    elif os.path.isdir(word):
        for path in walk_folders.walk_images(Path(word), unused):
            yield os.path.join(word, path.relative_to(word))
    elif _ADDRESS.match(word) and not os.path.lexists(word):
        raise UserError(f"'{word}' is an address: download it, and name the file here.")
    elif not os.path.lexists(word) and glob.has_magic(word):
        for match in sorted(glob.glob(word, recursive=True)):
            if os.path.isdir(match):
                continue
            yield match
    else:
        yield word


def _listed(content: bytes) -> Iterator[str]:
    if is_image_head(content[:64]):
        raise UserError("On stdin came an image, not a list of names: write it to a file first, and name that.")
    entries = content.split(b"\0") if b"\0" in content else content.splitlines()
    for entry in entries:
        if entry:
            yield os.fsdecode(entry)
