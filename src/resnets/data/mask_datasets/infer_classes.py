"""Which class each value of the masks of a dataset means, and what is wrong with the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from resnets.data.image.decode import DecodeError
from resnets.data.mask_datasets.image_mask import read_values
from resnets.data.mask_datasets.mask_classes import (
    IGNORE,
    UNKNOWN,
    MaskClasses,
    describe_value,
    make_classes,
)
from resnets.data.mask_datasets.mask_layout import ClassTable, ImageMaskPair
from resnets.data.mask_datasets.read_cityscapes import CLASSES as CITYSCAPES
from resnets.data.mask_datasets.read_cityscapes import NUM_LABELS
from resnets.data.mask_datasets.scan_masks import Scan
from resnets.message_format import format_list

SHOWN = 8  # values in a message
LOOKED_AT = 20  # masks of which pixels are compared with their neighbors
MANY_BLENDED = 5  # values that hardly have a neighbor of their own
BLENDED = 0.5  # largest fraction of the pixels of such a value with an equal neighbor
BLENDED_SHARE = 0.25  # of all pixels, that such values have together at most
BORDER_STEPS = 3  # a border is gone after so many erosions by a pixel
LEFT_OF_BORDER = 0.05  # largest fraction of a border that these leave
STREET_SHARE = 0.6  # of the pixels of a street, that the most frequent labels of Cityscapes have at least


class InferredClasses(NamedTuple):
    """The classes of the values, and the faults of the dataset as kinds with notes; no classes where only the user knows them."""

    classes: MaskClasses
    faults: list[tuple[str, str]]


class ValueCounts(NamedTuple):
    """The different values of all masks, and the number of pixels of each: int64 (K,)."""

    values: np.ndarray
    counts: np.ndarray


def infer_classes(
    images: Sequence[ImageMaskPair],
    scans: Sequence[Scan],
    table: ClassTable | None,
    given: MaskClasses | None,
    *,
    color_coded: bool,
    tolerance: int,
) -> InferredClasses:
    """The classes that a user gave; else those of the table; else those that the values themselves tell.

    Args:
        images: those of the scans.
    """
    total = total_counts(scans)
    if given is not None:
        return _check_values(images, scans, given, total, told=True)
    if table is not None:
        classes = make_classes(
            table.names, table.colors, ignored=table.ignored, color_coded=table.color_coded, tolerance=tolerance
        )
        classes = replace(
            classes, written=tuple(table.written[name] for name in classes.names) if table.written else ()
        )
        return _check_values(images, scans, classes, total, told=False)
    if color_coded:
        blended = _blended(images, scans, color_coded=True)
        fault = ("antialiased-edges", blended) if blended else ("colors", _list_values(total, color_coded=True))
        return InferredClasses(make_classes({}, color_coded=True), [fault])
    return _name_by_value(images, scans, total)


def total_counts(scans: Sequence[Scan]) -> ValueCounts:
    """The values of all masks together."""
    values, inverse = np.unique(
        np.concatenate([np.empty(0, np.int64), *(scan.values for scan in scans)]), return_inverse=True
    )
    weights = np.concatenate([np.empty(0, np.int64), *(scan.counts for scan in scans)])
    return ValueCounts(values, np.bincount(inverse, weights, len(values)).astype(np.int64))


def is_border(mask: np.ndarray) -> bool:
    """Whether the pixels of a mask, bool (H, W), are only thin lines, such as the borders of objects in Pascal VOC."""
    from scipy import ndimage  # slow to import

    left = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=BORDER_STEPS)
    return int(left.sum()) <= LEFT_OF_BORDER * int(mask.sum())


def _name_by_value(images: Sequence[ImageMaskPair], scans: Sequence[Scan], total: ValueCounts) -> InferredClasses:
    found = total.values.tolist()
    if blended := _blended(images, scans, color_coded=False):
        return InferredClasses(make_classes({}), [("antialiased-edges", blended)])
    if found == [0, IGNORE] and not _only_borders(images, scans, IGNORE):
        return InferredClasses(make_classes({}), [("only-0-and-255", _list_values(total, color_coded=False))])
    labels = [value for value in found if value != IGNORE]
    names = {value: str(value) for value in labels}
    faults: list[tuple[str, str]] = []
    if len(labels) == 2 and labels[0] == 0:
        names = {0: "background", labels[1]: "foreground"}
        faults += [("foreground-value", f"the values are {format_list(found, quote=False)}")] * (labels[1] != 1)
    elif len(labels) > 1 and labels == list(range(1, len(labels) + 1)):
        faults.append(("values-from-one", f"the values are 1 to {len(labels)}; {_zero_advice(len(labels))}"))
    elif _are_label_ids(total):
        faults.append(("label-ids", f"the values {format_list(labels, SHOWN, quote=False)}"))
    return InferredClasses(make_classes(names, ignored=[IGNORE] * (IGNORE in found)), faults)


def _zero_advice(count: int) -> str:
    return f"did the data have {count} classes numbered from 1, or {count} and an ignored 0"


def _are_label_ids(total: ValueCounts) -> bool:
    labeled = total.values != IGNORE
    values, counts = total.values[labeled], total.counts[labeled]
    if not len(values) or values.max() >= NUM_LABELS:
        return False
    frequent = [CITYSCAPES[name][0] for name in ("road", "building", "vegetation", "sky", "car", "sidewalk")]
    return bool(
        set(frequent) <= set(values.tolist()) and counts[np.isin(values, frequent)].sum() > STREET_SHARE * counts.sum()
    )


def _check_values(
    images: Sequence[ImageMaskPair], scans: Sequence[Scan], classes: MaskClasses, total: ValueCounts, *, told: bool
) -> InferredClasses:
    """The classes, and what is wrong with the values of the masks; `told`: a user gave the classes."""
    indices = classes.indices(total.values)
    unknown = indices == UNKNOWN
    names_255 = any(IGNORE in values for values in classes.values)
    is_unclear = not (told or classes.color_coded or names_255) and total.values.tolist() == [0, IGNORE]
    if is_unclear and not _only_borders(images, scans, IGNORE):
        return InferredClasses(make_classes({}), [("only-0-and-255", _list_values(total, color_coded=False))])
    if not unknown.any():
        return InferredClasses(classes, [])
    if unknown.sum() >= MANY_BLENDED and (blended := _blended(images, scans, color_coded=classes.color_coded)):
        return InferredClasses(make_classes({}), [("antialiased-edges", blended)])
    outside = ValueCounts(total.values[unknown], total.counts[unknown])
    share = outside.counts.sum() / total.counts.sum()
    known = [describe_value(value, classes.color_coded) for values in classes.values for value in values]
    listed = _list_values(outside, color_coded=classes.color_coded)
    faults = [
        ("unknown-values", f"{listed}: {share:.2%} of all pixels; known are {format_list(known, SHOWN, quote=False)}")
    ]
    count = len(classes.names)
    if not classes.color_coded and 0 not in total.values and outside.values.tolist() == [count]:
        faults.append(("values-from-one", f"the values are 1 to {count}, but {count} classes are numbered from 0"))
    return InferredClasses(classes, faults)


def _only_borders(images: Sequence[ImageMaskPair], scans: Sequence[Scan], value: int) -> bool:
    with_value = [image for image, scan in zip(images, scans, strict=True) if value in scan.values]
    return all(is_border(read_values(str(image.mask), color_coded=False) == value) for image in with_value[:LOOKED_AT])


def _blended(images: Sequence[ImageMaskPair], scans: Sequence[Scan], *, color_coded: bool) -> str:
    """A note on the values, if many of them are those of single pixels, as smoothing and JPEG make them along edges; else ""."""
    order = sorted(range(len(scans)), key=lambda index: -len(scans[index].values))[:LOOKED_AT]
    totals: dict[int, int] = {}
    paired: dict[int, int] = {}
    for index in order:
        if len(scans[index].values) < MANY_BLENDED:
            break
        try:
            pixels = read_values(str(images[index].mask), color_coded=color_coded)
        except DecodeError:
            continue
        values, inverse = np.unique(pixels, return_inverse=True)
        inverse = inverse.reshape(pixels.shape)
        across, down = inverse[:, 1:] == inverse[:, :-1], inverse[1:] == inverse[:-1]
        pairs = np.maximum(
            np.bincount(inverse[:, 1:][across], minlength=len(values)),
            np.bincount(inverse[1:][down], minlength=len(values)),
        )
        for value, count, pair in zip(
            values.tolist(), np.bincount(inverse.ravel()).tolist(), pairs.tolist(), strict=True
        ):
            totals[value] = totals.get(value, 0) + count
            paired[value] = paired.get(value, 0) + pair
    single = [value for value, count in totals.items() if paired[value] < BLENDED * count]
    if len(single) < MANY_BLENDED or sum(totals[value] for value in single) > BLENDED_SHARE * sum(totals.values()):
        return ""
    pairs_left = [(value, count) for value, count in totals.items() if value not in single]
    solid = ValueCounts(*np.array(pairs_left, np.int64).reshape(-1, 2).T)
    return (
        f"{len(single):,} values of single pixels beside {_list_values(solid, color_coded=color_coded)}, such as in "
        f"'{images[order[0]].mask}'"
    )


def _list_values(total: ValueCounts, *, color_coded: bool) -> str:
    """`7 (1,200 pixels), 9 (3 pixels)`, the most frequent first."""
    order = np.argsort(-total.counts, kind="stable").tolist()
    cases = [
        f"{describe_value(int(total.values[index]), color_coded)} ({total.counts[index]:,} pixels)" for index in order
    ]
    return format_list(cases, SHOWN, quote=False)
