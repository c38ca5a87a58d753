"""Take over the split of earlier weights, so that images that they have trained on do not get into val or test."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnets.data.datasets.dataset import SPLITS, Dataset, Sample
from resnets.data.loading.hash_files import hash_samples
from resnets.data.split.make_split import (
    check_classes,
    check_train_has_all_classes,
    cut,
    log_oddities,
    refuse_shards,
    set_groups,
)
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize
from resnets.progress import log

HELD_OUT = ("val", "test")


def inherit_split(
    dataset: Dataset,
    splits: Mapping[str, str],
    *,
    val_fraction: float = 0.2,
    seed: int = 123,
    group_by: str | bool | None = None,
) -> Dataset | None:
    """Keep every image in the split that it had in another run, by its content; split the others as `make_split` would.

    Groups stay together: a group with an image in train is entirely in train, except for images that the dataset itself
    has in val or test. Where the new images are too few to divide, they are all in train.

    Args:
        splits: the split of each image by the SHA-256 of its file, in the other run.
        group_by: as for `make_split`.

    Returns:
        None if no image had a split before, or if train or val would have no images.
    """
    refuse_shards(dataset)
    check_classes(dataset)
    dataset = set_groups(dataset, group_by)
    samples = hash_samples(dataset.samples)
    if not any(sample.sha256 in splits for sample in samples):
        return None
    inherited = _inherited_splits(samples, splits)
    new = [index for index, split in enumerate(inherited) if split is None]
    counts = {split: inherited.count(split) for split in SPLITS if split in inherited}
    cut_samples, message = _cut_new([replace(samples[index], split=None) for index in new], val_fraction, seed)
    by_index = dict(zip(new, cut_samples, strict=True))
    kept = (replace(sample, split=split) for sample, split in zip(samples, inherited, strict=True))
    result = replace(dataset, samples=tuple(by_index.get(index) or sample for index, sample in enumerate(kept)))
    if not result.subset("train") or not result.subset("val"):
        return None
    check_train_has_all_classes(result)
    log_oddities(result)
    _log_divided_groups(result)
    log(
        "the split is that of the weights, by the content of the images: "
        + ", ".join(f"{count:,} stay in {split}" for split, count in counts.items())
        + message
    )
    return result


def _inherited_splits(samples: Sequence[Sample], splits: Mapping[str, str]) -> list[str | None]:
    """The split of each image that has one by its dataset, by the other run, or by its group; None for the others."""
    known = [sample.split if sample.split in HELD_OUT else splits.get(str(sample.sha256)) for sample in samples]
    groups: dict[str, str] = {}
    for name in SPLITS:  # train first
        groups |= {
            sample.group: name
            for sample, split in zip(samples, known, strict=True)
            if split == name and sample.group and sample.group not in groups
        }

    def inherit(sample: Sample, split: str | None) -> str | None:
        of_group = groups.get(sample.group or "")
        if sample.split in HELD_OUT or of_group is None:
            return split
        if split is None:
            return None if sample.split == "train" and of_group == "test" else of_group
        return "train" if of_group == "train" else split

    return [inherit(sample, split) for sample, split in zip(samples, known, strict=True)]


def _cut_new(samples: list[Sample], val_fraction: float, seed: int) -> tuple[list[Sample], str]:
    """The images that had no split before, each with its split, and the end of the message that says how."""
    if not samples:
        return [], ""
    count = pluralize(len(samples), "new image")
    try:
        return cut(samples, {"val": val_fraction}, seed), f"; {count} split"
    except UserError:  # they are too few for a val split of their own, and there is one already
        return [replace(sample, split="train") for sample in samples], f"; {count} to train, too few to divide"


def _log_divided_groups(dataset: Dataset) -> None:
    splits: dict[str, set[str | None]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.group:
            splits[sample.group].add(sample.split)
    if divided := sorted(group for group, names in splits.items() if len(names) > 1):
        log(
            f"warning: {pluralize(len(divided), 'group')} with images in more than one split ({format_list(divided, 3)}): "
            "each image stays where the data or the weights have it, so that results may look too good"
        )
