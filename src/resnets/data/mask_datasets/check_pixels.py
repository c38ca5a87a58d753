"""What only the pixels of masks and images tell: borders, specks, shifted masks, and the shares of classes that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage, signal

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.image.decode import DecodeError, decode
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.mask_datasets.check_masks import share_faults
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import IGNORE, UNKNOWN
from resnets.data.mask_datasets.mask_faults import SPECK_PIXELS
from resnets.data.mask_datasets.name_values import is_border
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.progress import progress_bar

AHEAD = 16
MANY_SPECKS = 30  # of an image, and
SPECK_SHARE = 0.01  # of its pixels; those of CamVid's masks are below, which were made smaller
MANY_BORDERS = 0.5  # of the masks with ignored pixels
COMPARED = 200  # images whose edges are compared with those of their masks
CROP = 512  # pixels of the middle of an image that is compared
REACH = 16  # pixels, of the largest shift that is found
MIN_SHIFT = 2  # pixels; smaller ones come from rounding when images were resized
MIN_SIDE = 3 * REACH  # pixels of the crop that is compared
MIN_IMAGES = 4
MIN_T = 4.0  # of the difference of the correlations with and without the shift, over images
MIN_RATIO = 1.25  # of the two correlations


class _Pixels(NamedTuple):
    """What was found in one mask: pixels by class, whether ignored pixels are a border, specks, and correlations by shift."""

    counts: np.ndarray  # int64 (256,)
    border: bool
    specks: int
    speck_pixels: int
    correlations: (
        np.ndarray | None
    )  # float64 (2 * REACH + 1, 2 * REACH + 1), by dy and dx; None if they were not computed


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
            faults.append(AnnotationFault(sample.path, 0, "specks", note))
    with_border = sum(each.border for each in found)
    if with_border > MANY_BORDERS * sum(each.counts[IGNORE] > 0 for each in found):
        faults.append(AnnotationFault(root, 0, "thin-border", f"{with_border:,} of {pluralize(len(found), 'mask')}"))
    faults += _shifted(dataset.samples, found)
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
        _correlate_edges(sample.path, indices) if compared else None,
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


def _correlate_edges(path: str, indices: np.ndarray) -> np.ndarray | None:
    """The correlation of the edges of the mask with those of the image, for each shift of the mask against the image."""
    try:
        image = decode(path)
    except (DecodeError, UserError):
        return None
    top, left = (max((side - CROP) // 2, 0) for side in indices.shape)
    crop = np.s_[top : top + CROP, left : left + CROP]
    if image.shape[:2] != indices.shape or min(indices[crop].shape) < MIN_SIDE:
        return None
    gray = np.asarray(Image.fromarray(image[crop]).convert("L"), np.float64)
    edges = _edges(indices[crop].astype(np.int64)) > 0
    strength = np.sqrt(_edges(gray))
    inner = np.s_[REACH:-REACH, REACH:-REACH]
    chosen = edges[inner] - edges[inner].mean()
    strength = strength - strength.mean()
    scale = chosen.std() * strength.std() * chosen.size
    if not scale:
        return None
    # At [REACH - dy, REACH - dx]: the mask was moved by (dx, dy), so that its edges fit the image there.
    found: np.ndarray = signal.fftconvolve(strength, chosen[::-1, ::-1], mode="valid")[::-1, ::-1] / scale
    return found


def _edges(values: np.ndarray) -> np.ndarray:
    """The larger of the differences to the neighbors on both sides, so that an edge has a pixel on each side. (H, W)"""
    result = np.zeros(values.shape)
    for axis in (0, 1):
        steps = np.abs(np.diff(values, axis=axis)).astype(np.float64)
        before = [(0, 0), (0, 0)]
        after = [(0, 0), (0, 0)]
        before[axis], after[axis] = (1, 0), (0, 1)
        result = np.maximum(result, np.maximum(np.pad(steps, before), np.pad(steps, after)))
    return result


def _shifted(samples: Sequence[Sample], found: Sequence[_Pixels]) -> list[AnnotationFault]:
    """The shift of all masks, if their edges fit those of the images clearly better somewhere else."""
    pairs = [
        (sample, each.correlations)
        for sample, each in zip(samples, found, strict=True)
        if each.correlations is not None
    ]
    if len(pairs) < MIN_IMAGES:
        return []
    maps = np.stack([correlations for _, correlations in pairs])
    mean = maps.mean(axis=0)
    peak = np.unravel_index(int(mean.argmax()), mean.shape)
    dy, dx = (int(position) - REACH for position in peak)
    gains = maps[:, peak[0], peak[1]] - maps[:, REACH, REACH]
    t = gains.mean() / max(gains.std(ddof=1) / np.sqrt(len(gains)), 1e-12)
    if max(abs(dx), abs(dy)) < MIN_SHIFT or t < MIN_T or mean[peak] < MIN_RATIO * mean[REACH, REACH]:
        return []
    note = f"by {dx:+} pixels to the right and {dy:+} down, in {pluralize(len(pairs), 'image')} that were compared"
    worst = np.argsort(-gains, kind="stable")[:3].tolist()
    return [AnnotationFault(pairs[number][0].path, 0, "shifted", note) for number in worst]
