"""Choose the images by which a quantization sets its ranges: as many of each class, and none that the gate measures."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split.lineage import sha256_of_sample
from resnets.errors import ImageError, JobError, UserError
from resnets.inference.exported.exported_runner import as_input
from resnets.message_format import format_list, pluralize
from resnets.tasks.classification.class_indices import class_indices
from resnets.tasks.classification.prediction_set import UNLABELED

AHEAD = 64  # images that are read before they are asked for


@dataclass(frozen=True)
class CalibrationImages:
    """The chosen images.

    Attributes:
        samples: with the SHA-256 of their files.
        shared: how many others were left out since the gate has an image of the same content.
        asked: how many were asked for.
        split: which part of the data they are from.
        seed: of the choice.
    """

    samples: tuple[Sample, ...]
    shared: int
    asked: int
    split: str
    seed: int

    @property
    def paths(self) -> list[str]:
        return [sample.path for sample in self.samples]

    @property
    def sha256(self) -> str:
        """The hash of the list of their contents."""
        return list_sha256(self.samples)

    @property
    def classes(self) -> dict[str, int]:
        """The number of images of each class."""
        return dict(sorted(Counter(sample.label or "" for sample in self.samples).items()))

    def in_words(self) -> str:
        counts = sorted(set(self.classes.values()))
        each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        fewer = f" ({self.asked:,} were asked for; there are no more)" if len(self.samples) < self.asked else ""
        left_out = f"; {pluralize(self.shared, 'image')} left out that the gate has, too" if self.shared else ""
        return (
            f"calibration: {pluralize(len(self.samples), 'image')} of {self.split}{fewer}, {each} of each of "
            f"{len(self.classes)} classes, seed {self.seed}, sha256 {self.sha256[:12]}{left_out}"
        )

    def to_dict(self) -> dict[str, Any]:
        values = {"images": len(self.samples), "asked": self.asked, "split": self.split, "seed": self.seed}
        return {**values, "classes": self.classes, "left_out_as_shared": self.shared, "sha256": self.sha256}


def list_sha256(samples: Sequence[Sample]) -> str:
    """The SHA-256 of the hexadecimal hashes of the files, one in a line, in order."""
    return hashlib.sha256("".join(f"{sample.sha256}\n" for sample in samples).encode()).hexdigest()


def choose(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    count: int,
    seed: int,
    excluded: Collection[str],
    split: str,
) -> CalibrationImages:
    """Choose `count` images at random, the same number of each class as far as there are so many; no content twice.

    Args:
        samples: those without a label are not taken.
        excluded: the SHA-256 of contents that are left out.
        split: which part of the data `samples` are; for messages.

    Raises:
        UserError: no image is left.
        JobError: an image cannot be read.
    """
    labels = class_indices(samples, class_names)
    taken: set[str] = set()
    shared: list[str] = []

    def usable(indices: Sequence[int]) -> Iterator[Sample]:
        for index in indices:
            sample = samples[index]
            digest = sha256_of_sample(sample)
            if digest is None:
                raise JobError(f"'{sample.path}' cannot be read.")
            if digest in excluded:
                shared.append(sample.path)
            elif digest not in taken:
                taken.add(digest)
                yield replace(sample, sha256=digest)

    generator = random.Random(f"calibration {seed}")
    by_class = []
    for label in sorted(set(labels.tolist()) - {UNLABELED}):
        indices = np.flatnonzero(labels == label).tolist()
        generator.shuffle(indices)
        by_class.append(usable(indices))
    chosen = tuple(islice(_in_turn(by_class), count))
    if not chosen:
        some = f": {format_list(shared, 3)}" if shared else ""
        raise UserError(
            f"No images of {split} are left for the calibration; {pluralize(len(shared), 'image')} the gate has, too{some}. Give "
            "the gate others by `validation`."
        )
    return CalibrationImages(chosen, len(shared), count, split, seed)


def _in_turn(iterators: list[Iterator[Sample]]) -> Iterator[Sample]:
    """One of each iterator after the other, until all have ended."""
    remaining = list(iterators)
    while remaining:
        for iterator in list(remaining):
            sample = next(iterator, None)
            if sample is None:
                remaining.remove(iterator)
            else:
                yield sample


def load(paths: Sequence[str | Path], preprocess: Preprocess, kind: str) -> list[np.ndarray]:
    """Each image as a graph with the input `kind` receives it, with a first dimension of 1.

    Args:
        preprocess: what is left to do before the graph.

    Raises:
        JobError: an image cannot be read.
    """

    def read(path: str | Path) -> np.ndarray:
        return as_input(preprocess.load(path)[None], kind)

    try:
        return list(ordered_map(read, paths, workers=None, ahead=AHEAD))
    except ImageError as error:
        raise JobError(str(error)) from error
