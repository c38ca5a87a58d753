"""Read shards: WebDataset tars, written once and read as a stream, with an index of the positions of the images.

    shards/train-000000.tar   00000000.jpg, 00000000.cls (index of the class), 00000000.json (label, path), 00000001.jpg …
    shards/index.npy          a row for each image: offset and size of its bytes within its tar, class, suffix, weight, the
                              SHA-256 of the file that it was made from, and a hash of its group
    shards/shards.json        classes, and the split, count, size and SHA-256 of each file; written last

Memory holds only the row of an image in the index, 61 bytes; everything else is made when it is asked for.
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

from resnets.data.datasets.dataset import SPLITS, Dataset, IndexedSamples, Sample
from resnets.data.image.open_image_file import tar_address
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.message_format import format_list

MANIFEST, INDEX, FORMAT = "shards.json", "index.npy", "resnets-shards-2"
SHOWN_DIFFERENCES = 5
ROW = np.dtype([
    ("offset", "<i8"), ("size", "<u4"), ("label", "<i4"), ("weight", "<f4"), ("suffix", "u1"), ("sha256", "S32"),
    ("group", "<u8"),  # 0 for none
])  # fmt: skip


@dataclass(frozen=True)
class ShardIndex:
    """The tars of a folder and the index of their images, which are numbered through all tars."""

    root: Path
    class_names: tuple[str, ...]
    suffixes: tuple[str, ...]
    tars: tuple[str, ...]
    splits: tuple[str, ...]  # of each tar
    ends: tuple[int, ...]  # for each tar, the index after its last image
    rows: np.ndarray  # of ROW
    fingerprint: str  # of shards.json, which holds the hashes of all other files
    resized_to: int | None = None  # the shorter side to which larger images were resized, if they were

    def sample(self, index: int) -> Sample:
        """The image number `index`."""
        row = self.rows[index]
        tar = bisect.bisect_right(self.ends, index)
        tar_file, name = os.path.join(self.root, self.tars[tar]), f"{index:08d}{self.suffixes[row['suffix']]}"
        path = tar_address(tar_file, int(row["offset"]), int(row["size"]), name)
        group = f"{row['group']:016x}" if row["group"] else None
        label, weight = self.class_names[row["label"]], float(row["weight"])
        return Sample(path, (label,), self.splits[tar], group, weight, _hex(row["sha256"]))


class ShardSamples(IndexedSamples):
    """The images with these indices."""

    def __init__(self, shard_index: ShardIndex, indices: range) -> None:
        self.shard_index, self.indices = shard_index, indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> ShardSamples: ...

    def __getitem__(self, index: int | slice) -> Sample | ShardSamples:
        if isinstance(index, slice):
            return ShardSamples(self.shard_index, self.indices[index])
        return self.shard_index.sample(self.indices[index])

    @property
    def fingerprint(self) -> str:
        return f"{self.shard_index.fingerprint} {self.indices}"

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split in self.shard_index.splits)

    def subset(self, split: str) -> ShardSamples:
        tars = list(zip(self.shard_index.ends, self.shard_index.splits, strict=True))
        ends = [end for end, name in tars if name == split]
        other_ends = [end for end, name in tars if name != split]
        if not ends:
            return ShardSamples(self.shard_index, range(0))
        start = max((end for end in other_ends if end < ends[0]), default=0)
        return ShardSamples(self.shard_index, range(start, ends[-1]))

    @property
    def shard_sizes(self) -> list[int]:
        first, stop, step = self.indices.start, self.indices.stop, self.indices.step
        ends = [0, *(len(range(first, min(end, stop), step)) for end in self.shard_index.ends)]
        return [end - start for start, end in pairwise(ends) if end > start]

    def labels(self, class_names: Sequence[str]) -> np.ndarray:
        indices = {name: index for index, name in enumerate(class_names)}
        new_index = np.array([indices.get(name, -1) for name in self.shard_index.class_names], dtype=np.int64)
        return new_index[self._rows["label"]]

    def weights(self) -> np.ndarray:
        return self._rows["weight"].astype(np.float64)

    def contents_and_groups(self) -> tuple[np.ndarray, np.ndarray]:
        return self._rows["sha256"], self._rows["group"]

    def sha256s(self) -> Iterator[str]:
        return map(_hex, self._rows["sha256"])

    @property
    def resized_to(self) -> int | None:
        return self.shard_index.resized_to

    def rename_classes(self, names: Mapping[str, str]) -> ShardSamples:
        class_names = tuple(names[name] for name in self.shard_index.class_names)
        return ShardSamples(replace(self.shard_index, class_names=class_names), self.indices)

    @property
    def _rows(self) -> np.ndarray:
        return self.shard_index.rows[self.indices.start : self.indices.stop : self.indices.step]


def _hex(digest: bytes) -> str:
    return digest.ljust(32, b"\0").hex()  # numpy strips zeros at its end


def hash_group(name: str | None) -> int:
    """The value of a group in the index: above 0, equal for equal names only; 0 for no group."""
    if not name:
        return 0
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "little") or 1


def read(root: Path) -> Dataset:
    """The dataset in the shards that `write_shards.write` wrote into `root`.

    Raises:
        UserError: a file is missing or was changed since. Of a tar, only the size is compared.
    """
    try:
        text = (root / MANIFEST).read_bytes()
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}, not {FORMAT}")
        class_names, suffixes, shards = tuple(manifest["classes"]), tuple(manifest["suffixes"]), manifest["shards"]
        resized_to = None if manifest.get("resize") is None else int(manifest["resize"])
        tars = tuple(Path(shard["file"]).name for shard in shards)
        splits = tuple(shard["split"] for shard in shards)
        ends = tuple(accumulate(shard["count"] for shard in shards))
        differences = list(_size_differences(root, shards))
        if sha256(root / INDEX) != manifest["index_sha256"]:
            raise ValueError(f"'{INDEX}' is not the one that was written with it")
        rows = np.load(root / INDEX, mmap_mode="r", allow_pickle=False)
        if not ends or len(rows) != ends[-1]:
            raise ValueError(f"its shards and '{INDEX}' do not have the same number of images")
    except OSError as error:
        raise UserError(f"Cannot read '{error.filename}': {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{root / MANIFEST}' does not describe shards: {error!s}. Write them again.") from error
    if differences:
        what = format_list(differences, SHOWN_DIFFERENCES, quote=False, separator="; ")
        raise UserError(f"'{root}' is no longer what was written: {what}. Copy it there again.")
    fingerprint = hashlib.sha256(text).hexdigest()
    index = ShardIndex(root, class_names, suffixes, tars, splits, ends, rows, fingerprint, resized_to)
    return Dataset(root, ShardSamples(index, range(ends[-1])), tuple(sorted(class_names)))


def upscale_warning(dataset: Dataset, side: int | None) -> str:
    """A message if the images were resized to less than `side` pixels when they were written; else empty."""
    resized_to = dataset.samples.resized_to if isinstance(dataset.samples, IndexedSamples) else None
    if resized_to is None or side is None or side <= resized_to:
        return ""
    return (
        f"'{dataset.root}' holds images that were resized to a shorter side of {resized_to} pixels, and {side} are needed: "
        f"they are enlarged and lack detail. Write the shards again with `resize={side}`"
    )


def is_unfinished(root: Path) -> bool:
    """Whether `root` holds shards whose writing was stopped."""
    return not (root / MANIFEST).exists() and any(root.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"))


def check_unchanged(copy: Path, dataset: Dataset) -> None:
    """Compare the copy of shards.json in a run directory with the one of the dataset.

    Raises:
        UserError: they differ; the message names the shards that do.
    """
    current = dataset.root / MANIFEST
    if copy.read_bytes() == current.read_bytes():
        return
    before, after = (
        {shard["file"]: shard for shard in json.loads(path.read_bytes()).get("shards", [])} for path in (copy, current)
    )
    differences = []
    for name in sorted({*before, *after}):
        if name not in after or name not in before:
            differences.append(f"'{name}' was {'added' if name in after else 'removed'}")
        elif before[name] != after[name]:
            sizes = before[name]["bytes"], after[name]["bytes"]
            size = f"{sizes[0]:,} bytes then, {sizes[1]:,} now" if sizes[0] != sizes[1] else "of the same size"
            differences.append(f"'{name}' has another content ({size})")
    what = format_list(differences, SHOWN_DIFFERENCES, quote=False, separator="; ")
    raise UserError(f"'{dataset.root}' was changed since the run began: {what or 'its classes or its index differ'}.")


def _size_differences(root: Path, shards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for shard in shards:
        try:
            size = (root / Path(shard["file"]).name).stat().st_size
        except FileNotFoundError:
            yield f"'{shard['file']}' is missing"
            continue
        if size != shard["bytes"]:
            yield f"'{shard['file']}' has {size:,} bytes, not {shard['bytes']:,}"
