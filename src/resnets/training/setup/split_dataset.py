"""Split the dataset as the recipe says, after a check that every image can be read."""

from collections.abc import Mapping
from dataclasses import replace

from resnets import ranks
from resnets.data.check import check
from resnets.data.datasets.dataset import Dataset, IndexedSamples, labels_of
from resnets.data.loading import ram_cache
from resnets.data.split.inherit_split import inherit_split
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split
from resnets.errors import UserError
from resnets.message_format import LIST_LIMIT, format_list, pluralize
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.training import distributed


def split_dataset(dataset: Dataset, recipe: Recipe, before: Mapping[str, str] | None = None) -> Dataset:
    """Return the dataset with each image in a split, its own or that of the recipe, after a check of all images.

    Args:
        before: the split of each image by the SHA-256 of its file, which is used where the dataset has no val split.

    Raises:
        UserError: there are no training images, or images cannot be read.
    """
    section = recipe.data
    if isinstance(dataset.samples, IndexedSamples):
        return _check_shards(dataset, recipe)
    if section.split_file is not None:
        return drop_unreadable(read_split(section.split_file, dataset), section.on_bad)
    dataset = drop_unreadable(dataset, section.on_bad)
    if (section.folds is None) != (section.fold is None):
        raise UserError("`data.folds` and `data.fold` belong together: `data.folds=5` `data.fold=1`")
    if before and section.val_fraction and section.folds is None and "val" not in dataset.splits:
        inherited = inherit_split(
            dataset, before, val_fraction=section.val_fraction, seed=section.split_seed, group_by=section.group_by
        )
        if inherited is not None:
            return inherited
    has_val = "val" in dataset.splits  # then nothing is split; `conflicts` has refused given values
    return make_split(
        dataset,
        val_fraction=None if has_val or section.folds is not None else section.val_fraction,
        seed=section.split_seed if not has_val and (section.val_fraction or section.folds is not None) else None,
        group_by=section.group_by,
        folds=section.folds,
        fold=section.fold,
    )


def _check_shards(dataset: Dataset, recipe: Recipe) -> Dataset:
    section = recipe.data
    if section.split_file is not None or section.folds is not None or section.group_by is not None:
        return make_split(dataset)  # raises the error
    if "train" not in dataset.splits:
        raise UserError(f"'{dataset.root}' has no train split, only {', '.join(dataset.splits)}.")
    return dataset


def drop_unreadable(dataset: Dataset, on_bad: str) -> Dataset:
    """Return the dataset without the images that cannot be read, or raise an error that lists them.

    The images of shards were checked when they were written. Each rank checks an equal number of images.
    """
    if isinstance(dataset.samples, IndexedSamples):
        return dataset
    rank, size, count = ranks.rank(), ranks.world_size(), len(dataset.samples)
    local_samples = dataset.samples[count * rank // size : count * (rank + 1) // size]
    gathered = distributed.all_gather_object(check.verify_images(local_samples))
    results = [result for rank_results in gathered for result in rank_results]  # (SHA-256, error) of each image
    failures = [error for _, error in results if error]
    if failures and on_bad == "error":
        pairs = zip(dataset.samples, results, strict=True)
        lost_classes = sorted(set(dataset.class_names) - labels_of(sample for sample, (_, error) in pairs if not error))
        details = f" Without these no image of {format_list(lost_classes)} is left." if lost_classes else ""
        details += (
            f" Besides, there are class folders without images: {format_list(dataset.empty_classes)}."
            if dataset.empty_classes
            else ""
        )
        raise UserError(ram_cache.report_unreadable(failures) + details)
    readable = tuple(
        replace(sample, sha256=digest)
        for sample, (digest, error) in zip(dataset.samples, results, strict=True)
        if error is None
    )
    if not failures:
        return replace(dataset, samples=readable)
    log(f"left out {pluralize(len(failures), 'image')} that cannot be read:")
    for failure in failures[:LIST_LIMIT]:
        log(f"  {failure}")
    if len(failures) > LIST_LIMIT:
        log(f"  and {len(failures) - LIST_LIMIT:,} more")
    if not readable:
        raise UserError(f"None of the {count:,} images of '{dataset.root}' can be read.")
    lost = labels_of(dataset.samples) - labels_of(readable)
    if emptied := [name for name in dataset.class_names if name in lost]:
        log(f"left out the class {format_list(emptied)}: none of its images can be read")
    return replace(
        dataset,
        samples=readable,
        class_names=tuple(name for name in dataset.class_names if name not in lost),
        unreadable=tuple(failure.path for failure in failures),
    )


def describe_dataset(dataset: Dataset) -> str:
    """Return the number of images in each split, in one line."""
    sizes = {split: len(dataset.subset(split)) for split in dataset.splits}
    words = {"train": "to train", "val": "to validate", "test": "to test"}
    counts = ", ".join(f"{sizes[split]:,} {words[split]}" for split in sizes)
    classes = f" in {len(dataset.class_names):,} classes" if dataset.class_names else ""
    return f"{pluralize(sum(sizes.values()), 'image')}{classes}: {counts}"
