"""Images that outgrow a folder: WebDataset tars, written once and read as a stream, with an index of where each lies.

    shards/train-000000.tar   00000000.jpg, 00000000.cls (number of the class), 00000000.json (label, path), 00000001.jpg …
    shards/index.npy          a row for each image: offset and size of its bytes within its tar, class, suffix, weight, the
                              SHA-256 of the file that it was made from, and a number for its group
    shards/shards.json        classes, and the part, count, size and SHA-256 of each file; written last

Of each image, memory holds a row of the index only, 61 bytes; everything else is made when it is asked for.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np

from resnets.data.datasets.dataset import PARTS, Sample, Source, Stored
from resnets.data.image.stored_bytes import address
from resnets.data.sha256 import sha256
from resnets.errors import UserError

MANIFEST, INDEX, FORMAT = "shards.json", "index.npy", "resnets-shards-1"
# Shards that were written by earlier versions lack the last two; `group` is 0 where there is none.
ROW = np.dtype(
    [
        ("offset", "<i8"),
        ("size", "<u4"),
        ("label", "<i4"),
        ("weight", "<f4"),
        ("suffix", "u1"),
        ("sha256", "S32"),
        ("group", "<u8"),
    ]
)


@dataclass(frozen=True)
class Shelf:
    """The tars of a folder and the index of their images; an image's number counts through all of them."""

    root: Path
    classes: tuple[str, ...]
    suffixes: tuple[str, ...]
    tars: tuple[str, ...]
    parts: tuple[str, ...]  # of each tar
    ends: tuple[int, ...]  # the number after the last image of each tar
    index: np.ndarray  # of ROW
    digest: str  # of shards.json, which holds those of everything else
    side: int | None = None  # the shorter side to which larger images were brought, if they were

    def sample(self, number: int) -> Sample:
        row = self.index[number]
        shard = bisect.bisect_right(self.ends, number)
        place = address(
            os.path.join(self.root, self.tars[shard]),
            int(row["offset"]),
            int(row["size"]),
            f"{number:08d}{self.suffixes[row['suffix']]}",
        )
        digest, group = None, None
        if self.knows_content:
            digest, group = _hex(row["sha256"]), f"{row['group']:016x}" if row["group"] else None
        label, weight = self.classes[row["label"]], float(row["weight"])
        return Sample(place, label, self.parts[shard], group, weight, digest)

    @property
    def knows_content(self) -> bool:
        """Whether the index has the SHA-256 and the group of each image."""
        return "sha256" in (self.index.dtype.names or ())


class Shelved(Stored):
    """The images of these numbers."""

    def __init__(self, shelf: Shelf, numbers: range) -> None:
        self.shelf, self.numbers = shelf, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Sample: ...

    @overload
    def __getitem__(self, place: slice) -> Shelved: ...

    def __getitem__(self, place: int | slice) -> Sample | Shelved:
        if isinstance(place, slice):
            return Shelved(self.shelf, self.numbers[place])
        return self.shelf.sample(self.numbers[place])

    @property
    def digest(self) -> str:
        return f"{self.shelf.digest} {self.numbers}"

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in PARTS if part in self.shelf.parts)

    def part(self, name: str) -> Shelved:
        ends = [end for end, part in zip(self.shelf.ends, self.shelf.parts, strict=True) if part == name]
        before = [end for end, part in zip(self.shelf.ends, self.shelf.parts, strict=True) if part != name]
        if not ends:
            return Shelved(self.shelf, range(0))
        return Shelved(self.shelf, range(max((end for end in before if end < ends[0]), default=0), ends[-1]))

    @property
    def blocks(self) -> list[int]:
        first, stop, step = self.numbers.start, self.numbers.stop, self.numbers.step
        before = [0, *(len(range(first, min(end, stop), step)) for end in self.shelf.ends)]
        return [end - start for start, end in pairwise(before) if end > start]

    def labels(self, classes: Sequence[str]) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(classes)}
        known = np.array([numbers.get(name, -1) for name in self.shelf.classes], dtype=np.int64)
        return known[self._rows["label"]]

    def weights(self) -> np.ndarray:
        return self._rows["weight"].astype(np.float64)

    def contents(self) -> tuple[np.ndarray, np.ndarray] | None:
        return (self._rows["sha256"], self._rows["group"]) if self.shelf.knows_content else None

    def digests(self) -> Iterator[str] | None:
        return map(_hex, self._rows["sha256"]) if self.shelf.knows_content else None

    @property
    def side(self) -> int | None:
        return self.shelf.side

    def renamed(self, names: Mapping[str, str]) -> Shelved:
        classes = tuple(names[name] for name in self.shelf.classes)
        return Shelved(replace(self.shelf, classes=classes), self.numbers)

    @property
    def _rows(self) -> np.ndarray:
        return self.shelf.index[self.numbers.start : self.numbers.stop : self.numbers.step]


def _hex(digest: bytes) -> str:
    return digest.ljust(32, b"\0").hex()  # numpy gives it without zeros at its end


def number_of_group(name: str | None) -> int:
    """What stands in the index for a group: above 0, the same for the same name, and another one for another."""
    return (
        int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "little") or 1 if name else 0
    )


def read(root: Path) -> Source:
    """The shards that `write` of `resnets.data.write_shards` left in `root`.

    Raises:
        UserError: a file is missing or not what was written; it is named. Of a tar, only the size is compared.
    """
    try:
        text = (root / MANIFEST).read_bytes()
        facts = json.loads(text)
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}, not {FORMAT}")
        classes, suffixes, shards = tuple(facts["classes"]), tuple(facts["suffixes"]), facts["shards"]
        side = None if facts.get("resize") is None else int(facts["resize"])
        tars = tuple(Path(shard["file"]).name for shard in shards)
        parts = tuple(shard["part"] for shard in shards)
        ends = tuple(accumulate(shard["count"] for shard in shards))
        wrong = list(_other_sizes(root, shards))
        index = _index(root, facts["index_sha256"])
        if not ends or len(index) != ends[-1]:
            raise ValueError(f"its shards and '{INDEX}' do not have the same number of images")
    except OSError as error:
        raise UserError(f"Cannot read '{error.filename}': {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{root / MANIFEST}' does not describe shards: {error!s}. Write them again.") from error
    if wrong:
        more = f"; and {len(wrong) - 5:,} more" if len(wrong) > 5 else ""
        raise UserError(f"'{root}' is no longer what was written: {'; '.join(wrong[:5])}{more}. Copy it there again.")
    shelf = Shelf(root, classes, suffixes, tars, parts, ends, index, hashlib.sha256(text).hexdigest(), side)
    return Source(root, Shelved(shelf, range(ends[-1])), tuple(sorted(classes)))


def enlarged(source: Source, side: int | None) -> str:
    """A sentence where images that were made smaller than `side` pixels are to be brought to it; else empty."""
    stored = source.samples.side if isinstance(source.samples, Stored) else None
    if stored is None or side is None or side <= stored:
        return ""
    return (
        f"'{source.root}' holds images that were brought to a shorter side of {stored} pixels, and {side} are wanted: they are "
        f"enlarged and lack detail. Write the shards anew with `resize={side}`"
    )


def unfinished(root: Path) -> bool:
    """Whether `root` holds what is left of a writing that was stopped."""
    return not (root / MANIFEST).exists() and any(root.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"))


def same(kept: Path, source: Source) -> None:
    """Compare the copy of shards.json that a run kept with the one of `source`.

    Raises:
        UserError: they differ; the message names the shards that do.
    """
    now = source.root / MANIFEST
    if kept.read_bytes() == now.read_bytes():
        return
    before, after = (
        {shard["file"]: shard for shard in json.loads(path.read_bytes()).get("shards", [])} for path in (kept, now)
    )
    found = []
    for name in sorted({*before, *after}):
        if name not in after or name not in before:
            found.append(f"'{name}' was {'added' if name in after else 'removed'}")
        elif before[name] != after[name]:
            sizes = before[name]["bytes"], after[name]["bytes"]
            size = f"{sizes[0]:,} bytes then, {sizes[1]:,} now" if sizes[0] != sizes[1] else "of the same size"
            found.append(f"'{name}' has another content ({size})")
    what = "; ".join(found[:5]) or "its classes or its index differ"
    raise UserError(f"'{source.root}' is no longer what the run was begun with: {what}.")


def _other_sizes(root: Path, shards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for shard in shards:
        try:
            size = (root / Path(shard["file"]).name).stat().st_size
        except FileNotFoundError:
            yield f"'{shard['file']}' is missing"
            continue
        if size != shard["bytes"]:
            yield f"'{shard['file']}' has {size:,} bytes, not {shard['bytes']:,}"


def _index(root: Path, digest: str) -> np.ndarray:
    if sha256(root / INDEX) != digest:
        raise ValueError(f"'{INDEX}' is not the one that was written with it")
    return np.load(root / INDEX, mmap_mode="r", allow_pickle=False)
