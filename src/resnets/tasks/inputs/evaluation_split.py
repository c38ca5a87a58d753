"""Which images of a data set a model is judged on."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnets.data.datasets import read_shards
from resnets.data.datasets.dataset import SPLIT_FILE, SPLITS, Dataset, IndexedSamples, Sample
from resnets.data.split import seen_in_training as lineages
from resnets.data.split.make_split import make_split
from resnets.data.split.seen_in_training import Lineage, sha256_of_sample
from resnets.data.split.split_file import read_split
from resnets.errors import UserError, suggestion
from resnets.files import sha256

ALL, UNSEEN = "all", "unseen"


@dataclass(frozen=True)
class Part:
    """The images of one part, its name (`all` for every image), and why it was taken, in words."""

    name: str  # "unseen": those that none of several models learned from
    samples: Sequence[Sample]
    reason: str


def unseen(dataset: Dataset, models: Sequence[tuple[str, Lineage]]) -> Part | None:
    """The images that none of several models, nor the weights that they began from, learned from; by content.

    Returns:
        None where a part cannot be made so: the source has test or val images of its own, or is stored in shards; or
        none of the models is known to have learned from an image of it.

    Raises:
        UserError: no image is left.
    """
    if isinstance(dataset.samples, IndexedSamples) or {"test", "val"} & set(dataset.splits):
        return None
    digests = list(lineages.sha256_of_samples(dataset.samples))
    if not any(digest in lineage.train for _, lineage in models for digest in digests):
        return None
    trained = [(name, sum(digest in lineage.train for digest in digests)) for name, lineage in models]
    counts = ", ".join(f"'{name}' on {count:,}" for name, count in trained)
    left = tuple(
        sample
        for sample, digest in zip(dataset.samples, digests, strict=True)
        if not any(digest in lineage.train for _, lineage in models)
    )
    if not left:
        raise UserError(
            f"Each of the {len(digests):,} images was trained on by one of the models ({counts}), so that they cannot be "
            f"judged on them. Give images that are new to all, or `split=all` with what follows from it."
        )
    reason = f"of {len(digests):,}, those that no model was trained on; trained on: {counts}"
    return Part(UNSEEN, left, reason)


def choose(
    dataset: Dataset,
    checkpoint: Path,
    *,
    part: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    prefer: tuple[str, ...] = ("test", "val"),
) -> Part:
    """Take a part of `source`.

    The parts come from `split_file`; else from a new split by `val_fraction` and `seed`; else from the folders or the
    list that the source was read from; else, when the model was trained on these images, from the split of its run.

    Args:
        checkpoint: the file of the model, which may lie in its run folder.
        part: `train`, `val`, `test` or `all`; without it the first of `prefer` that there is, else every image.

    Raises:
        UserError: there is no such part, or the split does not fit the images.
    """
    if part is not None and part not in (*SPLITS, ALL):
        raise UserError(f"`split` is one of {', '.join((*SPLITS, ALL))}; received '{part}'.{suggestion(part, SPLITS)}")
    if split_file is not None and val_fraction is not None:
        raise UserError("`split_file` and `val_fraction` both say how to split; give one of them.")
    if seed is not None and val_fraction is None:
        raise UserError(f"`seed={seed}` is that of a new split, so that it has no effect without `val_fraction`.")
    if val_fraction is not None and "val" in dataset.splits:
        raise UserError(f"`val_fraction={val_fraction:g}` has no effect: '{dataset.root}' has a val part of its own.")
    if val_fraction is not None and part == ALL:
        raise UserError(f"`val_fraction={val_fraction:g}` has no effect with `split=all`. Leave one of them out.")
    own = checkpoint.parent.parent / SPLIT_FILE  # by which a model in a run folder was trained
    divided = dataset.splits or split_file is not None or val_fraction is not None
    alike, same = (0, False) if divided or not own.is_file() else _shared(own, dataset)
    dataset, origin = _divided(
        dataset, own if same else None, part, split_file, val_fraction, 123 if seed is None else seed
    )
    if part is None:
        part = next((name for name in prefer if name in dataset.splits), ALL)
    if part == ALL:
        if not dataset.splits:
            origin = "there is no split"
            if same:
                origin = f"with those that the model was trained on, by {own}"
            elif alike:
                origin = f"{alike} have the name of one in {own}, but none its content"
        return Part(ALL, dataset.samples, origin)
    if part not in dataset.splits:
        there = f"only {', '.join(dataset.splits)}" if dataset.splits else "it is not split"
        raise UserError(
            f"'{dataset.root}' has no part '{part}': {there}. Take `split=all`, `val_fraction=0.2`, or the `split_file` "
            "of the training."
        )
    return Part(part, dataset.subset(part), origin)


def selected(checkpoint: Path, samples: Sequence[Sample]) -> int:
    """How many of the images chose the epoch and the temperature of the model at `checkpoint`.

    These are the images of the val split of the run in whose folder the file lies. They are found by their content,
    wherever they are now; images that cannot be read do not count.
    """
    run = checkpoint.parent.parent
    if isinstance(samples, IndexedSamples):
        # The digest of stored images begins with that of their manifest, of which the run has kept a copy.
        own = (run / read_shards.MANIFEST).is_file() and samples.fingerprint.startswith(
            sha256(run / read_shards.MANIFEST)
        )
        return sum(sample.split == "val" for sample in samples) if own else 0
    if not (run / SPLIT_FILE).is_file():
        return 0
    with (run / SPLIT_FILE).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        val = {row.get("sha256") for row in csv.DictReader(file) if row.get("split") == "val"} - {None, ""}
    return sum(digest in val for digest in lineages.sha256_of_samples(samples)) if val else 0


def _divided(
    dataset: Dataset,
    own: Path | None,
    part: str | None,
    split_file: str | Path | None,
    val_fraction: float | None,
    seed: int,
) -> tuple[Dataset, str]:
    """The source with its parts, and where these come from; `own` is the split of the model's run, if it is of this source."""
    if split_file is not None:
        return read_split(split_file, dataset), str(split_file)
    if val_fraction is not None:
        return make_split(dataset, val_fraction=val_fraction, seed=seed), f"{val_fraction:g} with seed {seed}"
    if own is not None and part != ALL:
        try:
            return read_split(own, dataset), f"{own}, by which the model was trained"
        except UserError as error:
            raise UserError(f"{error} With `split=all`, every image is taken.") from None
    return dataset, f"as '{dataset.root}' has it"


def _shared(split_file: Path, dataset: Dataset) -> tuple[int, bool]:
    """How many images have the name of one in the file, and whether any has its content, too.

    Where none has, the model is used on other images, since the files of another folder may have the same names.
    """
    with split_file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        named = {row.get("path"): row.get("sha256") for row in csv.DictReader(file)}
    root = os.path.abspath(dataset.root)
    alike = 0
    for sample in dataset.samples:
        path = os.path.abspath(sample.path)
        name = path if path in named else Path(os.path.relpath(path, root)).as_posix()
        if name in named:
            alike += 1
            digest = sha256_of_sample(sample)
            if digest is not None and named[name] in (None, "", digest):  # a user's own list may have no hashes
                return alike, True
    return alike, False
