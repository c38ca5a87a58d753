"""Dataset and Sample: labeled images, the names of their classes, and the split of each image."""

from __future__ import annotations

import os
import re
import unicodedata
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from resnets.errors import UserError
from resnets.message_format import format_list, suggestion

SPLITS = ("train", "val", "test")
SPLIT_FILE = "split.csv"  # in a run directory; see data/split/split_file.py
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
# Words beside the split in names of folders: training_set, seg_train, test-images, TrainData, valset.
_OTHER_WORDS = ("", "set", "sets", "seg", "split", "data", "dataset", "image", "images", "img", "imgs", "photos")
_YEAR = re.compile(r"(19|20)\d\d")  # train2017
_NUMBERS = re.compile(r"(\d+)")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")


def split_from_name(name: str) -> str | None:
    """The split that the name of a folder, or a value of a manifest, means; None if it means none.

    `Training`, `test_set` and `dev` are splits, `training data 2` is not.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    splits = {
        _SPLIT_WORDS.get(word) or _SPLIT_WORDS.get(word.removesuffix("set"))
        for word in words
        if word not in _OTHER_WORDS and not _YEAR.fullmatch(word)
    }
    return splits.pop() if len(splits) == 1 else None


@runtime_checkable
class DigestedTarget(Protocol):
    """A `Sample.target` whose changes a split file notices: that of a task whose labels do not say all of an annotation."""

    def digest(self) -> str:
        """The SHA-256 of the annotation, in hexadecimal digits."""


@dataclass(frozen=True)
class Sample:
    """One image. `path` can be opened as it stands (absolute, or relative to the working directory)."""

    path: str
    # The names of its classes: one for classification, any number (also none) for multi-label, one for each object for
    # detection; None: it is not labeled.
    labels: tuple[str, ...] | None = None
    split: str | None = None  # train, val or test; None before the dataset is split
    group: str | None = None  # images of one patient, video or day; a group stays in one split
    weight: float = 1.0  # of its loss, relative to the others; > 0
    sha256: str | None = None  # of the bytes of the file; filled in by `hash_samples`
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)  # further columns of the manifest
    # What a task reads besides class names: boxes, the path of a mask, numbers. It may be a `DigestedTarget`.
    target: Any = field(default=None, hash=False)

    @property
    def label(self) -> str | None:
        """The only label; None if there is none, or more than one."""
        return self.labels[0] if self.labels and len(self.labels) == 1 else None


def labels_of(samples: Iterable[Sample]) -> set[str]:
    """The names of the classes that occur."""
    return {name for sample in samples for name in sample.labels or ()}


def labels_as_text(sample: Sample) -> str:
    """The names of its classes, each once, sorted and joined by `|`, as a table holds them; empty if there is none."""
    return "|".join(sorted(set(sample.labels or ())))


class IndexedSamples(Sequence[Sample]):
    """The samples of a dataset too large for a list, each made on access. The images were checked and split when written."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A string that differs if the images or their order differ."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """As `Dataset.splits`."""

    @abstractmethod
    def subset(self, split: str) -> IndexedSamples:
        """The images of `train`, `val` or `test`, in order."""

    @property
    @abstractmethod
    def shard_sizes(self) -> list[int]:
        """The number of images in each file, in order."""

    @abstractmethod
    def labels(self, class_names: Sequence[str]) -> np.ndarray:
        """int64 (N,): the index of each image's class in `class_names`."""

    @abstractmethod
    def weights(self) -> np.ndarray:
        """float64 (N,)."""

    @abstractmethod
    def contents_and_groups(self) -> tuple[np.ndarray, np.ndarray]:
        """The hash of the file that each image was made from, (N,), and of its group, (N,), 0 for none."""

    @abstractmethod
    def sha256s(self) -> Iterator[str]:
        """The SHA-256 of the file that each image was made from, in order."""

    @property
    @abstractmethod
    def resized_to(self) -> int | None:
        """The shorter side in pixels to which larger images were resized when they were written; None: they were not."""

    @abstractmethod
    def rename_classes(self, names: Mapping[str, str]) -> IndexedSamples:
        """The same images with other names for the classes."""


@dataclass(frozen=True)
class IndexedPaths(Sequence[str]):
    """The addresses of indexed samples."""

    samples: IndexedSamples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        selected: Any = self.samples[index]
        return IndexedPaths(selected) if isinstance(index, slice) else selected.path

    def __iter__(self) -> Iterator[str]:
        return (sample.path for sample in self.samples)

    def __repr__(self) -> str:
        return f"IndexedPaths({self.samples.fingerprint})"


def sample_paths(samples: Sequence[Sample]) -> Sequence[str]:
    """The path of each sample, or its address in a shard."""
    return IndexedPaths(samples) if isinstance(samples, IndexedSamples) else [sample.path for sample in samples]


def sample_labels(samples: Sequence[Sample], class_names: Sequence[str]) -> np.ndarray:
    """int64 (N,): the index of each image's class in `class_names`."""
    if isinstance(samples, IndexedSamples):
        return samples.labels(class_names)
    indices = {name: index for index, name in enumerate(class_names)}
    return np.array([indices[sample.label or ""] for sample in samples], dtype=np.int64)


def sample_weights(samples: Sequence[Sample]) -> np.ndarray:
    """float64 (N,): the weight of each image's loss."""
    if isinstance(samples, IndexedSamples):
        return samples.weights()
    return np.array([sample.weight for sample in samples], dtype=np.float64)


@dataclass
class UnusedFiles:
    """Files and folders that were skipped when a dataset was read."""

    files: list[str] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)  # of further files, which were counted only
    folders: list[str] = field(default_factory=list)
    inaccessible: dict[str, str] = field(default_factory=dict)  # folders that cannot be listed, and why


@dataclass(frozen=True)
class Dataset:
    """A dataset as it was read. Class names are sorted by code point and in Unicode's composed form (NFC)."""

    root: Path
    samples: Sequence[Sample]
    class_names: tuple[str, ...]
    empty_classes: tuple[str, ...] = ()  # class folders without an image in any split
    listed_classes: tuple[str, ...] = ()  # that the data list, in their order there, also those that no image has
    unused: UnusedFiles = field(default_factory=UnusedFiles)  # files and folders that do not belong to the data
    unreadable: tuple[str, ...] = ()  # paths of images that were left out since they cannot be read
    layout_warnings: tuple[str, ...] = ()  # what the folders could mean as well
    unicode_variants: tuple[tuple[str, ...], ...] = ()  # names taken as one, since only their Unicode form differs

    @property
    def unused_classes(self) -> tuple[str, ...]:
        """The listed classes that no image has, sorted."""
        return tuple(sorted(set(self.listed_classes) - set(self.class_names)))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have images, in the order train, val, test; empty before the dataset is split."""
        if isinstance(self.samples, IndexedSamples):
            return self.samples.splits
        present = {sample.split for sample in self.samples}
        return tuple(split for split in SPLITS if split in present)

    def subset(self, split: str) -> Sequence[Sample]:
        """The images of `train`, `val` or `test`."""
        if isinstance(self.samples, IndexedSamples):
            return self.samples.subset(split)
        return [sample for sample in self.samples if sample.split == split]


def build_dataset(
    root: Path,
    samples: Iterable[Sample],
    *,
    class_folders: Iterable[str] = (),
    unused: UnusedFiles | None = None,
    layout_warnings: Iterable[str] = (),
) -> Dataset:
    """A dataset from samples with labels as they were read.

    Args:
        class_folders: the names of all class folders, including those without images.

    Returns:
        The dataset; the labels are in Unicode's form NFC.
    """
    composed = ((sample, None if sample.labels is None else tuple(map(nfc, sample.labels))) for sample in samples)
    samples = tuple(replace(sample, labels=labels) for sample, labels in composed)
    labels = labels_of(samples)
    variants: dict[str, set[str]] = defaultdict(set)
    for name in class_folders:
        variants[nfc(name)].add(name)
    return Dataset(
        root=root,
        samples=samples,
        class_names=tuple(sorted(labels)),
        empty_classes=tuple(sorted(set(variants) - labels)),
        unused=unused or UnusedFiles(),
        layout_warnings=tuple(layout_warnings),
        unicode_variants=tuple(tuple(sorted(names)) for _, names in sorted(variants.items()) if len(names) > 1),
    )


def nfc(name: str) -> str:
    """The name in Unicode's form NFC: file systems and editors write one 'é' in two ways that look the same."""
    return unicodedata.normalize("NFC", name)


def text_order_note(class_names: Sequence[str]) -> str:
    """A note if sorted class names are in another order than the numbers in them; else empty."""
    for name, following in pairwise(class_names):
        pieces = zip(_NUMBERS.split(name), _NUMBERS.split(following), strict=False)
        first, second = next(((a, b) for a, b in pieces if a != b), ("", ""))
        if first.isdecimal() and second.isdecimal() and int(first) > int(second):
            return f"classes are sorted as text: '{name}' comes before '{following}'"
    return ""


def remap_classes(dataset: Dataset, class_names: Sequence[str]) -> Dataset:
    """The dataset with the classes of a model, in the model's order; labels are matched by name.

    Classes of the model may have no images.

    Raises:
        UserError: a label that the model does not have.
    """
    known = {nfc(name): name for name in class_names}
    indexed = isinstance(dataset.samples, IndexedSamples)
    labels = dataset.class_names if indexed else labels_of(dataset.samples)
    unknown = sorted(set(labels) - set(known))
    if unknown:
        hint = suggestion(unknown[0], known)
        raise UserError(
            f"'{dataset.root}' has images of {format_list(unknown)}, unknown to a model of {format_list(list(known))}.{hint}"
        )
    if isinstance(dataset.samples, IndexedSamples):
        return replace(dataset, samples=dataset.samples.rename_classes(known), class_names=tuple(class_names))
    samples = tuple(
        replace(sample, labels=tuple(known[name] for name in sample.labels)) if sample.labels else sample
        for sample in dataset.samples
    )
    return replace(dataset, samples=samples, class_names=tuple(class_names))


def relative_path(root: str, path: str) -> str:
    """The path relative to the root of the data if it is inside it, else unchanged."""
    inside = os.path.relpath(path, root)
    return path if inside.startswith("..") else inside
