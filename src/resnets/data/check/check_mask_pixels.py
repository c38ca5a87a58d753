"""What only the pixels of masks and images tell: borders, specks, shifted masks, and the shares of classes that are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from resnets.data.check import mask_alignment
from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.mask_datasets.check_mask_values import share_faults
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.infer_classes import is_border
from resnets.data.mask_datasets.mask_classes import IGNORE, UNKNOWN
from resnets.data.mask_datasets.mask_faults import SPECK_PIXELS
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.message_format import pluralize
from resnets.progress import progress_bar

AHEAD = 16
MANY_SPECKS = 30  # of an image, and
SPECK_SHARE = 0.01  # of its pixels; those of CamVid's masks are below, which were made smaller
MANY_BORDERS = 0.5  # of the masks with ignored pixels
COMPARED = 200  # images whose edges are compared with those of their masks


class _Pixels(NamedTuple):
    """What was found in one mask: pixels by class, whether ignored pixels are a border, specks, and correlations by shift."""

    counts: np.ndarray  # int64 (256,)
    border: bool
    specks: int
    speck_pixels: int
    correlations: np.ndarray | None  # see `mask_alignment`; None if they were not computed


def check_pixels(dataset: Dataset, *, workers: int | None = None) -> list[AnnotationFault]:
    """The faults of a dataset of masks that are only seen in the pixels; all masks are read, and some images.

    Nothing is read of a dataset without classes: what its values mean is not known yet.
    """
    if not dataset.class_names:
        return []
    step = max(-(-len(dataset.samples) // COMPARED), 1)
    items = [(number % step == 0, sample) for number, sample in enumerate(dataset.samples)]
    scanned = ordered_map(_look, items, workers=workers, ahead=AHEAD)
    found = list(progress_bar(scanned, description="checking masks", total=len(items), unit="images"))
    root, faults = str(dataset.root), []
    for sample, pixels in zip(dataset.samples, found, strict=True):
        share = pixels.speck_pixels / max(pixels.counts.sum(), 1)
        if pixels.specks >= MANY_SPECKS and share >= SPECK_SHARE:
            note = f"{pixels.specks:,} regions with {share:.1%} of the pixels"
            faults.append(AnnotationFault(sample.path, 0, "small-regions", note))
    with_border = sum(each.border for each in found)
    if with_border > MANY_BORDERS * sum(each.counts[IGNORE] > 0 for each in found):
        faults.append(AnnotationFault(root, 0, "thin-border", f"{with_border:,} of {pluralize(len(found), 'mask')}"))
    faults += mask_alignment.find_shift(dataset.samples, [each.correlations for each in found])
    if any(sample.target.file is None for sample in dataset.samples):
        names = dataset.samples[0].target.classes.names
        counts = np.sum([each.counts for each in found], axis=0)[: len(names)].astype(np.float64)
        faults += share_faults(dataset.root, dataset.samples, counts / max(counts.sum(), 1), names)
    return faults


def _look(item: tuple[bool, Sample]) -> _Pixels:
    compared, sample = item
    mask: ImageMask = sample.target
    indices = mask.indices()
    ignored = indices == IGNORE
    return _Pixels(
        np.bincount(indices.ravel(), minlength=256),
        bool(ignored.any()) and is_border(ignored),
        *_count_specks(indices),
        mask_alignment.correlate_edges(sample.path, indices) if compared else None,
    )


def _count_specks(indices: np.ndarray) -> tuple[int, int]:
    """The number of connected regions of a class that have fewer than 10 pixels, and that of their pixels."""
    specks = speck_pixels = 0
    for index, place in enumerate(ndimage.find_objects(indices.astype(np.int32) + 1)):
        if place is None or index >= UNKNOWN:
            continue
        labels, _ = ndimage.label(indices[place] == index, np.ones((3, 3)))
        areas = np.bincount(labels.ravel())[1:]
        specks += int((areas < SPECK_PIXELS).sum())
        speck_pixels += int(areas[areas < SPECK_PIXELS].sum())
    return specks, speck_pixels
