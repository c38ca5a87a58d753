"""Sort more texts than should be in memory."""

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from typing import TextIO

MOST = 50_000  # texts in memory; of names of files some 10 MB


def sort_on_disk(texts: Iterable[str], most: int = MOST) -> Iterator[str]:
    """The texts, sorted by code point. `most` of them are in memory, and the others in temporary files without a name.

    All are taken from `texts` before this returns.

    Raises:
        OSError: there is no space for temporary files.
    """
    stored, chunk = [], list[str]()
    for text in texts:
        chunk.append(text)
        if len(chunk) == most:
            stored.append(_store(sorted(chunk)))
            chunk = []
    return heapq.merge(sorted(chunk), *map(_read, stored))


def _store(texts: Iterable[str]) -> TextIO:
    file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  # `_read` closes it
    file.writelines(
        f"{json.dumps(text)}\n" for text in texts
    )  # a name may have line breaks, and bytes that are no text
    file.seek(0)
    return file


def _read(file: TextIO) -> Iterator[str]:
    with file:
        yield from map(json.loads, file)
