"""Which images of a dataset a model is evaluated on."""

import csv
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnets.data.datasets import read_shards
from resnets.data.datasets.dataset import SPLIT_FILE, SPLITS, Dataset, IndexedSamples, Sample
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage, sha256_of_sample
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.message_format import suggestion
from resnets.progress import log

ALL, NOT_TRAINED_ON = "all", "not_trained_on"
LAST = "last.safetensors"  # in the weights of a run directory: those after the last step, whatever the val images say


@dataclass(frozen=True)
class EvaluationSplit:
    """The images to evaluate."""

    # "train", "val", "test", "all", or "not_trained_on" for the images that none of several models was trained on.
    name: str
    samples: Sequence[Sample]  # the images
    reason: str  # the origin of the split, in words


def not_trained_on(dataset: Dataset, models: Sequence[tuple[str, Lineage]]) -> EvaluationSplit | None:
    """The images that none of several models, nor the weights that they began from, was trained on; by content.

    Where there are such images in the test split of each of the models, only these, since others may have been used to
    select a model.

    Returns:
        None where there is no such split: the dataset has a val or test split of its own, or is stored in shards; or none
        of the models is known to have been trained on an image of it.

    Raises:
        UserError: no image is left.
    """
    if isinstance(dataset.samples, IndexedSamples) or {"test", "val"} & set(dataset.splits):
        return None
    digests = list(lineage.sha256_of_samples(dataset.samples))
    if not any(digest in past.train for _, past in models for digest in digests):
        return None
    test = tuple(
        sample
        for sample, digest in zip(dataset.samples, digests, strict=True)
        if all(past.splits.get(digest or "") == "test" for _, past in models)
        and not any(digest in past.train for _, past in models)
    )
    if test:
        return EvaluationSplit("test", test, "those in the test split of each of the models")
    counts = [(name, sum(digest in past.train for digest in digests)) for name, past in models]
    trained = ", ".join(f"'{name}' was trained on {count:,}" for name, count in counts)
    samples = tuple(
        sample
        for sample, digest in zip(dataset.samples, digests, strict=True)
        if not any(digest in past.train for _, past in models)
    )
    if not samples:
        raise UserError(
            f"Each of the {len(digests):,} images was used to train one of the models ({trained}), so the models cannot be "
            "compared on them. Give images that none was trained on, or `split=all` for a biased comparison."
        )
    return EvaluationSplit(NOT_TRAINED_ON, samples, f"of {len(digests):,}; {trained}")


def choose_split(
    dataset: Dataset,
    checkpoint: Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    split: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    prefer: tuple[str, ...] = ("test", "val"),
) -> EvaluationSplit:
    """Choose a split of `dataset`.

    The splits come from `split_file`; else they are made by `val_fraction` and `seed`; else they are those of the
    folders or of the list that the dataset was read from; else, when the model was trained on these images, those of its
    run.

    Args:
        checkpoint: the file of the model, which may be in its run directory.
        provenance: that of the checkpoint.
        split: "train", "val", "test" or "all"; None for the first of `prefer` that there is, else every image.

    Raises:
        UserError: there is no such split, or the split file does not fit the images.
    """
    _check_arguments(dataset, split, split_file, val_fraction, seed)
    run_split, _ = lineage.find_split_record(checkpoint, provenance)
    has_splits = dataset.splits or split_file is not None or val_fraction is not None
    common, same = (0, False)
    if run_split is not None and run_split.name == SPLIT_FILE and not has_splits:
        common, same = _common_images(run_split, dataset)
    dataset, origin = _with_splits(
        dataset, run_split if same else None, split, split_file, val_fraction, 123 if seed is None else seed
    )
    if split is None:
        split = next((name for name in prefer if name in dataset.splits), ALL)
    if split == ALL:
        if not dataset.splits:
            origin = "there is no split"
            if same:
                origin = f"including those that the model was trained on, by {run_split}"
            elif common:
                origin = f"{common} have the name of an image in {run_split}, but none has its content"
            elif run_split is None and (other := _other_split_file(checkpoint, dataset)):
                origin += f"; whether {other} is that of this model is not known: `split_file={other}` would use it"
        return EvaluationSplit(ALL, dataset.samples, origin)
    if split not in dataset.splits:
        available = f"only {', '.join(dataset.splits)}" if dataset.splits else "it is not split"
        raise UserError(
            f"'{dataset.root}' has no {split} split: {available}. Use `split=all`, `val_fraction=0.2`, or the `split_file` "
            "of the training."
        )
    return EvaluationSplit(split, dataset.subset(split), origin)


def num_selected_on(checkpoint: Path, samples: Sequence[Sample], provenance: Mapping[str, Any] | None = None) -> int:
    """How many of the images were used to select the epoch and the temperature of the model at `checkpoint`.

    These are the images of the val split of the run in whose directory the file is. They are recognized by their content,
    wherever they are now; images that cannot be read do not count.
    """
    record, _ = lineage.find_split_record(checkpoint, provenance)
    if record is not None and checkpoint.name == LAST and "calibration" not in (provenance or {}):
        record = record if _decides_on_val(record.parent / "recipe.toml") else None
    if record is None or isinstance(samples, IndexedSamples) != (record.name == read_shards.MANIFEST):
        return 0
    if isinstance(samples, IndexedSamples):
        # The digest of stored images begins with that of their manifest, of which the run has a copy.
        same = samples.fingerprint.startswith(sha256(record))
        return sum(sample.split == "val" for sample in samples) if same else 0
    with record.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        val = {row.get("sha256") for row in csv.DictReader(file) if row.get("split") == "val"} - {None, ""}
    return sum(digest in val for digest in lineage.sha256_of_samples(samples)) if val else 0


def _decides_on_val(recipe: Path) -> bool:
    """Whether the val images of a run decide when it ends, or when its learning rate is lowered, so also its last weights."""
    try:
        content = tomllib.loads(recipe.read_text("utf-8"))
        keys = content["stop"].get("patience_epochs"), content["schedule"].get("plateau_epochs")
    except (OSError, ValueError, KeyError, AttributeError):
        return True  # it is not known
    return any(key is not None for key in keys)


def _check_arguments(
    dataset: Dataset, split: str | None, split_file: str | Path | None, val_fraction: float | None, seed: int | None
) -> None:
    if split is not None and split not in (*SPLITS, ALL):
        raise UserError(
            f"`split` is one of {', '.join((*SPLITS, ALL))}; received '{split}'.{suggestion(split, SPLITS)}"
        )
    if split_file is not None and val_fraction is not None:
        raise UserError("`split_file` and `val_fraction` both define the split; give only one.")
    if seed is not None and val_fraction is None:
        raise UserError(f"`seed={seed}` has no effect without `val_fraction`: it is the seed of a new split.")
    if val_fraction is not None and "val" in dataset.splits:
        raise UserError(f"`val_fraction={val_fraction:g}` has no effect: '{dataset.root}' has a val split of its own.")
    if val_fraction is not None and split == ALL:
        raise UserError(f"`val_fraction={val_fraction:g}` has no effect with `split=all`; give only one.")


def _with_splits(
    dataset: Dataset,
    run_split: Path | None,
    split: str | None,
    split_file: str | Path | None,
    val_fraction: float | None,
    seed: int,
) -> tuple[Dataset, str]:
    """The dataset with its splits, and their origin; `run_split` is that of the model's run, if it has these images."""
    if split_file is not None:
        return read_split(split_file, dataset), str(split_file)
    if val_fraction is not None:
        return make_split(dataset, val_fraction=val_fraction, seed=seed), f"{val_fraction:g} with seed {seed}"
    if run_split is not None and split != ALL:
        try:
            return read_split(run_split, dataset), f"{run_split}, which the model was trained with"
        except UserError as error:
            raise UserError(f"{error} `split=all` uses every image.") from None
    return dataset, f"as in '{dataset.root}'"


def _other_split_file(checkpoint: Path, dataset: Dataset) -> Path | None:
    """A split file of these images beside the checkpoint or one folder above, which is not known to be that of the model."""
    paths = [folder / SPLIT_FILE for folder in (checkpoint.parent, checkpoint.parent.parent)]
    return next((path for path in paths if path.is_file() and _common_images(path, dataset)[1]), None)


def _common_images(split_file: Path, dataset: Dataset) -> tuple[int, bool]:
    """How many images have the name of one in the file, and whether any of them has its content, too.

    Where none has, these are other images: the files of another folder may have the same names.
    """
    with split_file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        hashes = {row.get("path"): row.get("sha256") for row in csv.DictReader(file)}
    root = os.path.abspath(dataset.root)
    common = 0
    for sample in dataset.samples:
        path = os.path.abspath(sample.path)
        name = path if path in hashes else Path(os.path.relpath(path, root)).as_posix()
        if name in hashes:
            common += 1
            digest = sha256_of_sample(sample)
            if digest is not None and hashes[name] in (None, "", digest):  # a user's own list may have no hashes
                return common, True
    return common, False


def choose_for_models(
    dataset: Dataset,
    files: Sequence[Path],
    provenance: Mapping[str, Any],
    lineages: Sequence[tuple[str, Lineage]],
    split: str | None,
    split_file: str | Path | None,
    val_fraction: float | None,
    seed: int | None,
    calibrate: bool,
) -> EvaluationSplit:
    """The images to evaluate models on, with their hashes where one is known to have been trained on some images.

    Args:
        files: the checkpoints; their own splits are those of the first.
        lineages: of each, with its name.
        calibrate: the images are fitted to, so those of val come first.

    Raises:
        UserError: there is no such split, no image is left, or `calibrate` would fit images that were trained on.
    """
    chosen, has_lineage = None, any(past.train for _, past in lineages)
    if has_lineage and len(files) > 1 and split is None and split_file is None and val_fraction is None:
        if not {"test", "val"} & set(dataset.splits):
            dataset = replace(dataset, samples=lineage.with_sha256(dataset.samples))
        chosen = not_trained_on(dataset, lineages)
    chosen = chosen or choose_split(
        dataset,
        files[0],
        provenance,
        split=split,
        split_file=split_file,
        val_fraction=val_fraction,
        seed=seed,
        prefer=("val",) if calibrate else ("test", "val"),
    )
    if has_lineage:
        chosen = replace(chosen, samples=lineage.with_sha256(chosen.samples))
    if calibrate and split is None and chosen.name != "val":
        raise UserError(
            "`calibrate` needs images that the model was not trained on, and there is no val split. Give the `split`, "
            "or `split=all` if the model was trained on none of the images."
        )
    _log_split(chosen, calibrate)
    return chosen


def _log_split(split: EvaluationSplit, calibrate: bool) -> None:
    count = f"{len(split.samples):,}"
    if split.name == ALL:
        which = f"all {count} images"
    elif split.name == NOT_TRAINED_ON:
        which = f"the {count} images that no model was trained on"
    else:
        which = f"the {count} images of the {split.name} split"
    log(f"evaluating {which} ({split.reason})")
    if calibrate and split.name != "val":
        log(f"warning: a model fitted to '{split.name}' makes the metrics on the same images look better")
