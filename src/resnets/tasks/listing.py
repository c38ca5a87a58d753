"""The pictures that the words of a command stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from resnets.data.decode import SUFFIXES
from resnets.errors import UserError
from resnets.progress import say

STDIN = "-"


def pictures(words: Sequence[str], stdin: TextIO) -> list[str]:
    """The paths, in the order of the words, and within a folder or pattern by name.

    A file is taken whatever it is called, and so is what does not exist: whoever reads it will say so. A folder stands
    for the pictures in it at any depth, told by their suffix, hidden ones left out. A word with `*`, `?` or `[` that is
    no file is a pattern, in which `**` stands for any folders. `-` stands for the list on `stdin`, divided by newlines
    or, when there is one in it, by NUL characters.

    Raises:
        UserError: there is no picture at all; the message names the words.
    """
    found: list[str] = []
    empty: list[str] = []
    for word in words:
        before = len(found)
        found.extend(_of_word(word, stdin))
        if len(found) == before:
            empty.append("the list on stdin" if word == STDIN else f"'{word}'")
    if not found:
        raise UserError(f"There are no pictures in {', '.join(empty)}.")
    for word in empty:
        say(f"no pictures in {word}")
    return found


def _of_word(word: str, stdin: TextIO) -> Iterator[str]:
    if word == STDIN:
        # Names of files are bytes; what reads text might refuse some of them.
        yield from _listed(stdin.buffer.read() if hasattr(stdin, "buffer") else os.fsencode(stdin.read()))
    elif os.path.isdir(word):
        yield from _in_folder(word)
    elif not os.path.lexists(word) and glob.has_magic(word):
        for match in sorted(glob.glob(word, recursive=True)):
            if os.path.isdir(match):
                continue
            yield match
    else:
        yield word


def _listed(content: bytes) -> Iterator[str]:
    entries = content.split(b"\0") if b"\0" in content else content.splitlines()
    for entry in entries:
        if entry:
            yield os.fsdecode(entry)


def _in_folder(folder: str) -> Iterator[str]:
    """Links are followed, and each real folder is entered once, so that loops end."""
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield os.path.join(place, name)
