"""Split a dataset into train, val and test by the content of its files, stratified by class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnets.data.check.exact_duplicates import find_exact_duplicates
from resnets.data.datasets.dataset import SPLITS, Dataset, IndexedSamples, Sample, labels_as_text, labels_of
from resnets.data.loading.hash_files import hash_samples
from resnets.data.split.stratify_groups import assign_splits, find_clusters
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.progress import log

VAL_FRACTION, SEED = 0.2, 123  # the defaults


def make_split(
    dataset: Dataset,
    *,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int | None = None,
    group_by: str | bool | None = None,
    folds: int | None = None,
    fold: int | None = None,
) -> Dataset:
    """The dataset with a split for every image, ready for training.

    Splits that the dataset has stay as they are; a missing val split (and a test split, if asked for) is cut from train.
    The same images are split in the same way whatever their names and their order. Exact duplicates stay in one split, and
    so do groups; otherwise every class is cut by the same fractions. A class of a single image is in train.

    Args:
        val_fraction: fraction of all images that could be cut from, 0 … 1; None for 0.2, where the dataset has no val.
        test_fraction: likewise; None for 0.
        seed: another seed gives another split; None for 123.
        group_by: column of the manifest whose equal values form a group (`True` is the column `group`, which also counts
            without being asked for); `folder` for the folders within the class folders.
        folds: cut what is not test into this many equal folds, instead of by `val_fraction`.
        fold: the fold, from 1, that is val here.

    Returns:
        The dataset; each of its samples has a split and the SHA-256 of its file.

    Raises:
        UserError: the dataset cannot be trained on (a class without images, a single class, a class that only val or
            test has), or cannot be split in this way; a given value would have no effect.
    """
    refuse_shards(dataset)
    _check_folds(folds, fold)
    _check_effect(dataset, val_fraction, test_fraction, folds)
    val = (0.0 if folds else VAL_FRACTION) if val_fraction is None else val_fraction
    _check_fractions(val, test_fraction or 0.0)
    check_classes(dataset)
    dataset = set_groups(dataset, group_by)
    fractions = _fractions_to_cut(dataset, val, test_fraction or 0.0, folds)
    if seed is not None and not fractions and not folds:
        raise UserError(f"`seed={seed}` has no effect: there is nothing to divide. Leave it out.")
    samples = hash_samples(dataset.samples)
    if fractions or folds:
        samples = cut(samples, fractions, SEED if seed is None else seed, folds, fold)
    else:
        samples = [replace(sample, split=sample.split or "train") for sample in samples]
    result = replace(dataset, samples=tuple(samples))
    check_train_has_all_classes(result)
    log_oddities(result)
    return result


def cut(
    samples: Sequence[Sample],
    fractions: Mapping[str, float],
    seed: int,
    folds: int | None = None,
    fold: int | None = None,
) -> list[Sample]:
    """Samples without a split, and those of train, divided into train and `fractions`; the others stay in their split."""
    indices = [index for index, sample in enumerate(samples) if sample.split in (None, "train")]
    pool = [samples[index] for index in indices]
    hashes, labels = [str(sample.sha256) for sample in pool], [sample.labels or () for sample in pool]
    clusters = find_clusters(hashes, labels, [sample.group for sample in pool])
    assigned = assign_splits(clusters, fractions, seed=seed, folds=folds or 0)
    result = list(samples)
    for position, name in assigned.items():
        split = "val" if name == f"fold {fold}" else name if name in SPLITS else "train"
        result[indices[position]] = replace(pool[position], split=split)
    return result


def refuse_shards(dataset: Dataset) -> None:
    """Raises UserError for shards, whose split cannot change."""
    if isinstance(dataset.samples, IndexedSamples):
        raise UserError(
            f"'{dataset.root}' holds shards, which were split when they were written. To split the images in another way, "
            "write them again: resnets data shard DATA OUT --split-file FILE."
        )


def check_classes(dataset: Dataset) -> None:
    """Raises UserError for a class without images, and for a single class that is the label of every image."""
    if dataset.empty_classes:
        what = "a class folder" if len(dataset.empty_classes) == 1 else "class folders"
        raise UserError(
            f"'{dataset.root}' has {what} without images: {format_list(dataset.empty_classes)}. Remove it or fill it."
        )
    # Images without an object of the only class, or what a task knows besides the class, can be learned from.
    learnable = any(sample.label is None or sample.target is not None for sample in dataset.samples)
    if len(dataset.class_names) != 1 or learnable:
        return
    inner = sorted({sample.columns.get("folder", "").split("/")[0] for sample in dataset.samples} - {""})
    folder = dataset.root / dataset.class_names[0]
    hint = f" It has folders of its own, {format_list(inner, 5)}: if those are the classes, give '{folder}'."
    single = f"'{dataset.root}' has a single class, '{dataset.class_names[0]}'"
    raise UserError(f"{single}; training needs at least two.{hint if inner else ''}")


def check_train_has_all_classes(dataset: Dataset) -> None:
    """Raises UserError for a class that only val or test has."""
    known = labels_of(dataset.subset("train"))
    for split in ("val", "test"):
        samples = dataset.subset(split)
        unknown = labels_of(samples) - known
        if unknown:
            what = f"{'a class' if len(unknown) == 1 else 'classes'} that train does not have"
            paths = format_list((each.path for each in samples if unknown.intersection(each.labels or ())), 3)
            raise UserError(
                f"The {split} split of '{dataset.root}' has {what}: {format_list(sorted(unknown))}, in {paths}. Add images of "
                f"{'it' if len(unknown) == 1 else 'them'} to train, or correct these labels."
            )


def set_groups(dataset: Dataset, group_by: str | bool | None) -> Dataset:
    """The dataset with the group of each sample taken from the column `group_by`, as for `make_split`.

    Raises:
        UserError: there is no such column.
    """
    if not group_by:
        return dataset
    if group_by is True or group_by == "group":
        if not any(sample.group for sample in dataset.samples):
            raise UserError(f"'{dataset.root}' has no groups: a list with a column 'group' gives them.")
        return dataset
    columns = sorted({name for sample in dataset.samples for name in sample.columns})
    if group_by not in columns:
        origin = " Groups come from a column of a list, or from folders within the class folders."
        known = f" There is {format_list(columns)}." if columns else origin
        raise UserError(f"There is no column '{group_by}' to group by in '{dataset.root}'.{known}")
    samples = tuple(replace(sample, group=sample.columns.get(group_by) or None) for sample in dataset.samples)
    return replace(dataset, samples=samples)


def log_oddities(dataset: Dataset) -> None:
    """Log classes that val does not have, and duplicates under two labels or in two splits."""
    absent = sorted(set(dataset.class_names) - labels_of(dataset.subset("val")))
    if absent and dataset.subset("val"):
        unknown = f"so that nothing is known of how well {'it is' if len(absent) == 1 else 'these classes are'} learned"
        log(f"val has no image of {format_list(absent, 5)}, {unknown}")
    groups = find_exact_duplicates(sample.sha256 for sample in dataset.samples)
    duplicates = [[dataset.samples[index] for index in group] for group in groups]
    relabeled = [samples for samples in duplicates if len({labels_as_text(sample) for sample in samples}) > 1]
    if relabeled:
        example = f"such as {_pair(relabeled[0])}: see `resnets data check`"
        log(f"{pluralize(len(relabeled), 'image')} under two labels, {example}")
    leaked = [samples for samples in duplicates if len({sample.split for sample in samples}) > 1]
    if leaked:
        log(f"{pluralize(len(leaked), 'image')} in two splits, such as {_pair(leaked[0])}: results will look too good")


def _pair(duplicates: Sequence[Sample]) -> str:
    return f"'{duplicates[0].path}' and '{duplicates[-1].path}'"


def _check_fractions(val: float, test: float) -> None:
    for argument, fraction in (("`val_fraction`", val), ("`test_fraction`", test)):
        if not 0 <= fraction < 1:
            raise UserError(f"{argument} is {fraction:g}; it is a fraction between 0 and 1, such as 0.2.")
    if val + test >= 1:
        raise UserError(f"`val_fraction={val:g}` and `test_fraction={test:g}` leave nothing to train on.")


def _check_effect(dataset: Dataset, val: float | None, test: float | None, folds: int | None) -> None:
    for split, fraction in (("val", val), ("test", test)):
        if fraction is not None and split in dataset.splits:
            raise UserError(
                f"`{split}_fraction={fraction:g}` has no effect: '{dataset.root}' has a {split} split of its own. Leave it "
                "out."
            )
    if folds is not None and val is not None:
        raise UserError(f"`folds={folds}` and `val_fraction={val:g}` exclude each other: each says what val is.")


def _check_folds(folds: int | None, fold: int | None) -> None:
    if folds is None and fold is None:
        return
    if folds is None or folds < 2:
        received = "missing" if folds is None else folds
        raise UserError(f"`folds` is {received}; at least 2 folds are needed, such as `folds=5` `fold=1`.")
    if fold is None or not 1 <= fold <= folds:
        received = "missing" if fold is None else fold
        raise UserError(f"`fold` is {received}; choose which of the {folds} folds is val, from 1 to {folds}.")


def _fractions_to_cut(dataset: Dataset, val: float, test: float, folds: int | None) -> dict[str, float]:
    """The splits that are to be cut from the images of train and those without a split, with their fractions."""
    undecided = [sample.path for sample in dataset.samples if sample.split is None]
    if not undecided and "train" not in dataset.splits:
        raise UserError(f"'{dataset.root}' has no train split, only {format_list(dataset.splits)}.")
    if "val" in dataset.splits:
        if undecided:
            raise UserError(
                f"'{dataset.root}' has a val split, but {format_list(undecided, 3)} has no split. Give each image one."
            )
        if folds:
            raise UserError(f"'{dataset.root}' has its own val split; `folds` would mix it with train.")
    fractions = {"val": val, "test": test}
    return {split: fraction for split, fraction in fractions.items() if fraction and split not in dataset.splits}
