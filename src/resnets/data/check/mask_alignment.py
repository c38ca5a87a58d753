"""Whether the masks of a dataset are shifted against their images: where do the edges of both fit best?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import signal

from resnets.data.datasets.dataset import Sample
from resnets.data.image.decode import DecodeError, decode
from resnets.data.object_datasets.annotation_faults import AnnotationFault
from resnets.message_format import pluralize

CROP = 512  # pixels of the middle of an image that is compared
REACH = 16  # pixels, of the largest shift that is found
MIN_SHIFT = 2  # pixels; smaller ones come from rounding when images were resized
MIN_SIDE = 3 * REACH  # pixels of the crop that is compared
MIN_IMAGES = 4
MIN_T = 4.0  # of the difference of the correlations with and without the shift, over images
MIN_RATIO = 1.25  # of the two correlations


def correlate_edges(path: str, indices: np.ndarray) -> np.ndarray | None:
    """The correlation of the edges of the mask with those of the image, for each shift of the mask against the image."""
    try:
        image = decode(path)
    except DecodeError:
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


def find_shift(samples: Sequence[Sample], correlations: Sequence[np.ndarray | None]) -> list[AnnotationFault]:
    """The shift of all masks, if their edges fit those of the images clearly better somewhere else."""
    pairs = [(sample, each) for sample, each in zip(samples, correlations, strict=True) if each is not None]
    if len(pairs) < MIN_IMAGES:
        return []
    maps = np.stack([each for _, each in pairs])
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
