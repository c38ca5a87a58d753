"""Compare the masks of a dataset with its images, and find what is wrong with them, by their sizes and the counts of values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from resnets.data.datasets.dataset import Sample, labels_of
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import IGNORE, UNKNOWN, MaskClasses
from resnets.data.mask_datasets.mask_faults import CROP_SIDE, MANY_UNLABELED
from resnets.data.mask_datasets.mask_layout import ImageMaskPair
from resnets.data.mask_datasets.scan_masks import Scan
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.message_format import format_list, pluralize

RARE_PIXELS = 20.0  # of a class in a random crop, on average


def check_mask(image: ImageMaskPair, scan: Scan, classes: MaskClasses) -> tuple[Sample | None, list[AnnotationFault]]:
    """The sample of an image with its mask, None if it cannot be used; and the faults."""
    if scan.mask_size is None:
        return None, [AnnotationFault(image.image, 0, "bad-mask-file", scan.error)]
    size = scan.size or scan.mask_size
    if scan.mask_size != size:
        return None, [AnnotationFault(image.image, 0, "mask-size", _size_note(scan.mask_size, size, scan.stored))]
    if not classes.names:  # what the values mean is asked for
        return Sample(image.image, (), image.split, image.group, target=ImageMask(classes, size, file=image.mask)), []
    indices = classes.indices(scan.values)
    faults = [AnnotationFault(image.image, 0, kind, note) for kind, note in _content(scan, indices)]
    labels = tuple(name for index, name in enumerate(classes.names) if (indices == index).any())
    sample = Sample(image.image, labels, image.split, image.group, target=ImageMask(classes, size, file=image.mask))
    return sample, faults


def check_dataset(root: Path, samples: Sequence[Sample], names: Sequence[str]) -> list[AnnotationFault]:
    """The faults of the dataset as a whole, by the classes in its images and by its groups."""
    found = [("missing-class", note) for note in _missing_classes(samples, names)]
    found += [("group-in-two-splits", note) for note in _divided_groups(samples)]
    return [AnnotationFault(str(root), 0, *each) for each in found]


def share_faults(
    root: Path, samples: Sequence[Sample], shares: np.ndarray, names: Sequence[str]
) -> list[AnnotationFault]:
    """The share of each class, with the pixels that a random crop shows of it on average, and those that are rare.

    Args:
        shares: float64 (classes,), of the labeled pixels.
        names: of the classes.
    """
    if not samples:
        return []
    height, width = np.median([sample.target.size for sample in samples], axis=0)
    pixels = shares * min(CROP_SIDE, height) * min(CROP_SIDE, width)
    faults = []
    for name, share, count in sorted(zip(names, shares, pixels, strict=True), key=lambda each: -each[1]):
        if share:
            note = f"{name}: {share:.3%}, {count:,.0f} pixels"
            kinds = ["class-shares"] + ["rare-class"] * bool(count < RARE_PIXELS)
            faults += [AnnotationFault(str(root), 0, kind, note) for kind in kinds]
    return faults


def class_shares(scans: Sequence[Scan], classes: MaskClasses) -> np.ndarray:
    """The share of each class in the labeled pixels, float64 (classes,)."""
    totals = np.zeros(256, np.int64)
    for scan in scans:
        np.add.at(totals, classes.indices(scan.values), scan.counts)
    counts = totals[: len(classes.names)].astype(np.float64)
    return counts / max(counts.sum(), 1)


def _content(scan: Scan, indices: np.ndarray) -> Iterator[tuple[str, str]]:
    total = int(scan.counts.sum())
    ignored = int(scan.counts[indices == IGNORE].sum())
    labeled = np.unique(indices[indices < UNKNOWN])
    if unknown := int(scan.counts[indices == UNKNOWN].sum()):
        yield "unknown-values", f"{pluralize(unknown, 'pixel')}, {unknown / total:.1%}"
    if not len(labeled):
        yield "empty-mask", ""
    elif ignored > MANY_UNLABELED * total:
        yield "mostly-unlabeled", f"{ignored / total:.0%}"
    if len(labeled) == 1:
        yield "single-class-mask", ""
    if scan.orientation > 1 and scan.size == scan.stored:
        yield "exif-orientation", f"EXIF orientation {scan.orientation}"


def _size_note(mask: tuple[int, int], size: tuple[int, int], stored: tuple[int, int] | None) -> str:
    note = f"the mask has {mask[1]}x{mask[0]} pixels, the image {size[1]}x{size[0]}"
    if mask == stored:
        return f"{note}: it is that of the image before its EXIF orientation; turn the mask"
    for large, small, advice in ((size, mask, "enlarge"), (mask, size, "reduce")):
        factor = large[0] // small[0]
        if factor > 1 and large == (small[0] * factor, small[1] * factor):
            return f"{note}: {advice} the mask {factor} times, without interpolation"
    return note


def _missing_classes(samples: Sequence[Sample], names: Sequence[str]) -> Iterator[str]:
    labels: dict[str, set[str]] = {}
    for split in ("train", "val"):
        in_split = [sample for sample in samples if sample.split == split]
        if in_split:
            labels[split] = labels_of(in_split)
    present = labels_of(samples)
    for split, found in labels.items():
        if missing := [name for name in names if name in present - found]:
            yield f"{split} has no pixel of {format_list(missing)}"


def _divided_groups(samples: Sequence[Sample]) -> Iterator[str]:
    groups: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for sample in samples:
        if sample.group is not None and sample.split is not None:
            groups[sample.group][sample.split] += 1
    for name, counts in groups.items():
        if len(counts) > 1:
            yield f"{name}: " + ", ".join(f"{count:,} in {split}" for split, count in counts.items())
