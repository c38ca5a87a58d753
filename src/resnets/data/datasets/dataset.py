"""What a data set is to everything else: labeled images, the names of their classes, and the part of each."""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnets.errors import UserError, printable, suggestion

PARTS = ("train", "val", "test")
_PART_OF = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# What stands beside such a word in the names of folders: training_set, seg_train, test-images, TrainData, valset.
_BESIDE = frozenset({"", "set", "sets", "seg", "split", "data", "dataset", "image", "images", "img", "imgs", "photos"})
_YEAR = re.compile(r"(19|20)\d\d")  # train2017
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")
SHOWN = 20  # a message names this many files or classes, and counts the rest


def part_of(name: str) -> str | None:
    """The split that a folder or a word of a list stands for: `Training`, `test_set` and `dev` do, `training data 2` does
    not.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    found = {
        _PART_OF.get(word) or _PART_OF.get(word.removesuffix("set"))
        for word in words
        if word not in _BESIDE and not _YEAR.fullmatch(word)
    }
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Sample:
    """One image. `path` can be opened as it stands (absolute, or relative to the working directory)."""

    path: str
    label: str | None = None
    split: str | None = None  # a part, or None as long as nothing was decided
    group: str | None = None  # images of one patient, video or day; a group is never torn apart
    weight: float = 1.0  # of its loss, relative to the others; > 0
    sha256: str | None = None  # of the bytes of the file; filled in by `split`
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)  # the manifest's further columns


class Stored(Sequence[Sample]):
    """Images too many to be listed: each is made when it is asked for. They were checked and divided when stored."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Another one where the images or their order differ."""

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """As those of `Source`."""

    @abstractmethod
    def part(self, name: str) -> Stored:
        """The images of `train`, `val` or `test`, in order."""

    @property
    @abstractmethod
    def blocks(self) -> list[int]:
        """How many images each file holds, in order."""

    @abstractmethod
    def labels(self, classes: Sequence[str]) -> np.ndarray:
        """int64 (N,): the number of each image's class among `classes`."""

    @abstractmethod
    def weights(self) -> np.ndarray:
        """float64 (N,)."""

    @abstractmethod
    def contents(self) -> tuple[np.ndarray, np.ndarray] | None:
        """What each image was made from, (N,), and its group, (N,), 0 for none; equal values are the same. None: not known."""

    @abstractmethod
    def digests(self) -> Iterator[str] | None:
        """The SHA-256 of the file that each image was made from, in order; None where that is not known."""

    @property
    @abstractmethod
    def side(self) -> int | None:
        """The shorter side in pixels to which larger images were brought when they were stored; None: they were not."""

    @abstractmethod
    def renamed(self, names: Mapping[str, str]) -> Stored:
        """With other names for the classes."""


@dataclass(frozen=True)
class StoredPaths(Sequence[str]):
    """The addresses of stored images."""

    images: Stored

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: Any) -> Any:
        found: Any = self.images[place]
        return StoredPaths(found) if isinstance(place, slice) else found.path

    def __iter__(self) -> Iterator[str]:
        return (sample.path for sample in self.images)

    def __repr__(self) -> str:
        return f"StoredPaths({self.images.digest})"


def paths(samples: Sequence[Sample]) -> Sequence[str]:
    return StoredPaths(samples) if isinstance(samples, Stored) else [sample.path for sample in samples]


def labels(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    """int64 (N,): the number of each image's class among `classes`."""
    if isinstance(samples, Stored):
        return samples.labels(classes)
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[sample.label or ""] for sample in samples], dtype=np.int64)


def weights(samples: Sequence[Sample]) -> np.ndarray:
    """float64 (N,): of each image's loss."""
    if isinstance(samples, Stored):
        return samples.weights()
    return np.array([sample.weight for sample in samples], dtype=np.float64)


@dataclass
class NotUsed:
    """What reading a dataset passed over."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    closed: dict[str, str] = field(default_factory=dict)  # folders that cannot be looked into, and why


@dataclass(frozen=True)
class Source:
    """A data set as it was read. Class names are sorted by code point and in Unicode's composed form (NFC)."""

    root: Path
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    empty: tuple[str, ...] = ()  # class folders without any image in any part
    unused: NotUsed = field(default_factory=NotUsed)  # files and folders that are no part of the data
    unreadable: tuple[str, ...] = ()  # images that were left out since they cannot be read
    doubts: tuple[str, ...] = ()  # what the folders could mean as well
    spellings: tuple[tuple[str, ...], ...] = ()  # names that were taken as one, since only their Unicode form differs

    @property
    def ignored(self) -> tuple[str, ...]:
        """The paths of the files and folders that are no part of the data."""
        return (*self.unused.files, *self.unused.folders, *self.unused.closed)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have images, in the order train, val, test; empty before anything was decided."""
        if isinstance(self.samples, Stored):
            return self.samples.parts
        present = {sample.split for sample in self.samples}
        return tuple(part for part in PARTS if part in present)

    def part(self, name: str) -> Sequence[Sample]:
        """The images of `train`, `val` or `test`."""
        if isinstance(self.samples, Stored):
            return self.samples.part(name)
        return [sample for sample in self.samples if sample.split == name]


def assemble(
    root: Path,
    samples: Iterable[Sample],
    *,
    folders: Iterable[str] = (),
    unused: NotUsed | None = None,
    doubts: Iterable[str] = (),
) -> Source:
    """A source from samples with labels as they were found; `folders` are all class folders, the empty ones too."""
    samples = tuple(replace(each, label=None if each.label is None else composed(each.label)) for each in samples)
    found = {sample.label for sample in samples if sample.label is not None}
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in folders:
        spellings[composed(name)].add(name)
    return Source(
        root=root,
        samples=samples,
        classes=tuple(sorted(found)),
        empty=tuple(sorted(set(spellings) - found)),
        unused=unused or NotUsed(),
        doubts=tuple(doubts),
        spellings=tuple(tuple(sorted(names)) for _, names in sorted(spellings.items()) if len(names) > 1),
    )


def composed(name: str) -> str:
    """The name in Unicode's form NFC: file systems and editors write one 'é' in two ways that look the same."""
    return unicodedata.normalize("NFC", name)


def bind(source: Source, classes: Sequence[str]) -> Source:
    """The source with the classes of a model, in the model's order; labels are matched by name.

    A class without images is fine.

    Raises:
        UserError: a label that the model does not know, named together with those that it knows.
    """
    known = {composed(name): name for name in classes}
    stored = isinstance(source.samples, Stored)
    found = source.classes if stored else (each.label for each in source.samples if each.label is not None)
    unknown = sorted(set(found) - set(known))
    if unknown:
        hint = suggestion(unknown[0], known)
        raise UserError(
            f"'{source.root}' has images of {listed(unknown)}, unknown to a model of {listed(list(known))}.{hint}"
        )
    if isinstance(source.samples, Stored):
        return replace(source, samples=source.samples.renamed(known), classes=tuple(classes))
    samples = tuple(replace(each, label=known[each.label]) if each.label else each for each in source.samples)
    return replace(source, samples=samples, classes=tuple(classes))


def listed(names: Sequence[object], shown: int = SHOWN) -> str:
    """`'a', 'b' and 7 more`: the first names in quotes, the rest as a count."""
    text = ", ".join(f"'{printable(str(name))}'" for name in names[:shown])
    return text if len(names) <= shown else f"{text} and {len(names) - shown:,} more"


def counted(number: int, what: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
