"""Compare the objects of a dataset with its images, repair what is certain, and name what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from resnets.data.datasets.dataset import Dataset, Sample, labels_of
from resnets.data.image.decode import DecodeError, ImageInfo, inspect
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.object_datasets.annotation_faults import ERRORS, MANY_OBJECTS, SMALL_SIDE, AnnotationFault
from resnets.data.object_datasets.object_masks import MAX_SIDE, Polygons, RunLengths
from resnets.data.object_datasets.objects import FRACTIONS, Box, ImageObjects, Object, object_labels
from resnets.data.object_datasets.turn_and_scale import TURNED, scale, turn
from resnets.progress import progress_bar

SAME_IOU = 0.99  # of boxes that are taken as one
OVER_EDGE = (2.0, 0.01)  # pixels, and fraction of the side: a box may be cut by the larger one without a word
ENOUGH = 5  # boxes that show a habit of the whole dataset
AHEAD = 256


def check_annotations(dataset: Dataset) -> tuple[Dataset, list[AnnotationFault]]:
    """Compare all objects with the headers of their images.

    Returns:
        The dataset in which each `ImageObjects` has the size of the upright image and coordinates in its pixels, without the
        images and objects that are errors; and the faults. Images that cannot be read are not checked: `data.check` finds them.
    """
    paths = [sample.path for sample in dataset.samples]
    headers = ordered_map(_header, paths, workers=None, ahead=AHEAD)
    faults: list[AnnotationFault] = []
    samples = []
    for sample, header in zip(
        dataset.samples,
        progress_bar(headers, description="reading sizes", total=len(paths), unit="images"),
        strict=True,
    ):
        if sample.target is None:
            faults.append(AnnotationFault(sample.path, 0, "not-annotated", ""))
        elif header is None:
            samples.append(sample)
        else:
            checked, found = _check_image(sample, header)
            faults += found
            samples.append(checked)
    faults += _habits(dataset, samples)
    names = labels_of(samples)
    listed = tuple(dict.fromkeys((*dataset.listed_classes, *dataset.class_names)))
    return replace(dataset, samples=tuple(samples), class_names=tuple(sorted(names)), listed_classes=listed), faults


def _header(path: str) -> ImageInfo | None:
    try:
        return inspect(path)
    except DecodeError:
        return None


def _check_image(sample: Sample, header: ImageInfo) -> tuple[Sample, list[AnnotationFault]]:
    target: ImageObjects = sample.target
    stored = header.height, header.width
    size = stored[::-1] if header.orientation in TURNED else stored
    faults = [AnnotationFault(sample.path, *fault) for fault in target.faults]
    objects, fault = _to_size(target, stored, size, header.orientation)
    if fault:
        faults.append(AnnotationFault(sample.path, 0, *fault))
    if header.orientation > 1 and objects and (target.size in (None, FRACTIONS) or size == stored):
        faults.append(AnnotationFault(sample.path, 0, "unknown-turn", f"EXIF orientation {header.orientation}"))
    # An object that the reader could not read has no place in `objects`, but a number.
    unread = {each.number for each in target.faults if each.kind in ERRORS}
    numbers = [number for number in range(1, len(objects) + len(unread) + 1) if number not in unread]
    kept: list[tuple[int, Object]] = []
    for number, each in zip(numbers, objects, strict=False):
        found, repaired = _check_object(each, size, target.size == FRACTIONS)
        faults += [AnnotationFault(sample.path, number, kind, note) for kind, note in found]
        if repaired is not None:
            kept.append((number, repaired))
    left_out, found_pairs = _same_boxes(kept)
    faults += [AnnotationFault(sample.path, *each) for each in found_pairs]
    final = tuple(each for number, each in kept if number not in left_out)
    if len(final) > MANY_OBJECTS:
        faults.append(AnnotationFault(sample.path, 0, "many-objects", f"{len(final):,} objects"))
    return replace(sample, target=ImageObjects(final, size), labels=object_labels(final)), faults


def _to_size(
    target: ImageObjects, stored: tuple[int, int], size: tuple[int, int], orientation: int
) -> tuple[tuple[Object, ...], tuple[str, str] | None]:
    """The objects in pixels of the upright image of `size`; and the kind and note of a fault, if there is one."""
    annotated = target.size
    if annotated is None or annotated == size:
        return target.objects, None
    if annotated == FRACTIONS:
        return tuple(scale(each, annotated, size) for each in target.objects), None
    note = f"annotated as {annotated[1]}x{annotated[0]}, the image has {size[1]}x{size[0]}"
    objects = [_without_foreign_mask(each, annotated) for each in target.objects]
    if annotated == stored:
        return tuple(turn(each, orientation, stored) for each in objects), ("turned", note)
    if abs(annotated[0] * size[1] - annotated[1] * size[0]) <= max(*annotated, *size):  # a pixel, by rounding
        return tuple(scale(each, annotated, size) for each in objects), ("other-size", note)
    return target.objects, ("other-shape", note)


def _without_foreign_mask(each: Object, size: tuple[int, int]) -> Object:
    foreign = isinstance(each.mask, RunLengths) and (each.mask.height, each.mask.width) != size
    return replace(each, mask=None) if foreign else each


def _check_object(each: Object, size: tuple[int, int], fractions: bool) -> tuple[list[tuple[str, str]], Object | None]:
    """The kind and note of each fault of an object in an image of `size`; and the object as it is used, None if it is not."""
    x1, y1, x2, y2 = each.box
    text = f"box {x1:.6g}, {y1:.6g}, {x2:.6g}, {y2:.6g} of '{each.label}'"
    height, width = size
    if not (x2 > x1 and y2 > y1):
        return [("empty-box", text)], None
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return [("outside", f"{text} in {width}x{height}")], None
    if not fractions and max(each.box) <= 1 and min(size) > 8:
        return [("fractions", f"{text} in {width}x{height}")], None
    faults: list[tuple[str, str]] = []
    cut: Box = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    allowed = [max(OVER_EDGE[0], OVER_EDGE[1] * side) for side in (width, height)] * 2
    if any(abs(new - old) > limit for new, old, limit in zip(cut, each.box, allowed, strict=True)):
        faults.append(("over-edge", f"{text} in {width}x{height}"))
    if min(cut[2] - cut[0], cut[3] - cut[1]) < SMALL_SIDE:
        faults.append(("small-box", text))
    mask = each.mask
    if isinstance(mask, RunLengths) and (mask.height, mask.width) != size:
        mask = None
        faults.append(("bad-mask", f"the mask of '{each.label}' is not of the size of the image"))
    if isinstance(mask, Polygons) and not _near(mask.box(), size):
        mask = None
        faults.append(("bad-mask", f"the mask of '{each.label}' is far outside of the image"))
    return faults, replace(each, box=cut, mask=mask)


def _near(box: Box, size: tuple[int, int]) -> bool:
    """Whether it lies within the image and its surroundings; to fill a polygon costs memory by its length."""
    height, width = size
    return -width <= box[0] and -height <= box[1] and box[2] <= min(2 * width, MAX_SIDE) and box[3] <= 2 * height


def _same_boxes(kept: Sequence[tuple[int, Object]]) -> tuple[set[int], list[tuple[int, str, str]]]:
    """The numbers of second objects of a class with the same box, and all faults of this kind."""
    left_out: set[int] = set()
    faults: list[tuple[int, str, str]] = []
    boxes = np.array([each.box for _, each in kept], dtype=np.float64).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index, (number, each) in enumerate(kept):
        low, high = np.maximum(boxes[:index, :2], boxes[index, :2]), np.minimum(boxes[:index, 2:], boxes[index, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        for earlier in np.flatnonzero(shared > SAME_IOU * (areas[:index] + areas[index] - shared)).tolist():
            other_number, other = kept[earlier]
            if each.crowd or other.crowd or other_number in left_out or number in left_out:
                continue
            if other.label != each.label:
                faults.append((number, "two-labels", f"'{each.label}' and object {other_number}, '{other.label}'"))
            elif other.mask is None or each.mask is None or other.mask == each.mask:
                faults.append((number, "duplicate", f"'{each.label}' as object {other_number}"))
                left_out.add(number)
    return left_out, faults


def _habits(dataset: Dataset, samples: Sequence[Sample]) -> list[AnnotationFault]:
    """What most boxes of a dataset in pixels have in common, if it is wrong."""
    sizes = {sample.path: sample.target.size for sample in samples if sample.target}
    counts: Counter[str] = Counter()
    for sample in dataset.samples:
        size = sizes.get(sample.path)
        if sample.target is None or size is None or sample.target.size not in (None, size):
            continue
        for each in sample.target.objects:
            x1, y1, x2, y2 = each.box
            counts["all"] += 1
            counts["starts at 0"] += min(x1, y1) < 1
            counts["starts at 1"] += 1 in (x1, y1)
            counts["ends at side"] += x2 == size[1] or y2 == size[0]
            counts["whole"] += all(value == int(value) for value in each.box)
            counts["beyond"] += x2 > size[1] * 1.05 or y2 > size[0] * 1.05
            counts["corners"] += x2 - x1 > x1 and y2 - y1 > y1  # the size, if it were a corner, is right of the first
    root = str(dataset.root)
    total = counts["all"]
    if (
        min(counts["starts at 1"], counts["ends at side"]) >= ENOUGH
        and not counts["starts at 0"]
        and total == counts["whole"]
    ):
        return [
            AnnotationFault(
                root, 0, "from-one", f"no box of {total:,} begins at 0, {counts['starts at 1']:,} begin at 1"
            )
        ]
    if counts["beyond"] >= max(ENOUGH, total / 5) and counts["corners"] == total:
        note = f"{counts['beyond']:,} of {total:,} boxes reach beyond their image: are they two corners?"
        return [AnnotationFault(root, 0, "corners", note)]
    return []
