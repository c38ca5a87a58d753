"""Images with their objects: the worst ones (`worst_images.jpg`), and what was annotated beside what was found
(`val_batch_pred.jpg`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor

from resnets.data.datasets.dataset import Sample
from resnets.data.image.decode import DecodeError, decode
from resnets.report.figures import canvas, image_grid
from resnets.report.figures.class_color import Color, class_color
from resnets.report.figures.image_grid import Caption, Tile
from resnets.tasks.detection.draw_objects import draw_captions
from resnets.tasks.detection.metrics.confusion import Outcomes, image_counts
from resnets.tasks.detection.records import Records

SIDE = 360  # pixels of an image
MAX_WORST, MAX_PAIRS = 12, 8


def _rgb(color: str) -> Color:
    red, green, blue = ImageColor.getrgb(color)[:3]
    return red, green, blue


RIGHT, WRONG, MISSED = _rgb(canvas.RIGHT), _rgb(canvas.WRONG), _rgb("#F5C400")


_Draw = Callable[
    [np.ndarray, np.ndarray], np.ndarray
]  # of an image (H, W, 3), and factors (4,) from its boxes to pixels


def worst_images(records: Records, reported: Outcomes) -> np.ndarray:
    """int64 (n,): the images with the most wrong and missed objects, of which there is at least one."""
    errors = image_counts(records, reported)[:, 1:].sum(axis=1)
    order = np.argsort(-errors, kind="stable")[:MAX_WORST]
    return order[errors[order] > 0]


def draw_worst(
    images: np.ndarray, samples: Sequence[Sample], records: Records, reported: Outcomes, names: Sequence[str], out: Path
) -> Path:
    """Draw images with what is right (blue), wrong (red) and missed (yellow) in them.

    Args:
        images: int64 (n,), at least one.
        names: of the classes.
    """
    counts = image_counts(records, reported)
    tiles = []
    for k in images.tolist():
        hits, wrong, missed = counts[k].tolist()
        captions = [
            Caption(f"{hits} right, {wrong} wrong, {missed} missed"),
            Caption(Path(samples[k].path).name, color=canvas.MUTED),
        ]
        tiles.append(
            _tile(samples[k], records, k, lambda *view, k=k: _errors(records, reported, k, names, *view), captions)
        )
    heading = "Most errors: right (blue), wrong (red), missed (yellow)"
    return image_grid.draw(tiles, out, heading, SIDE, 3)


def draw_pairs(
    samples: Sequence[Sample], records: Records, reported: Outcomes, names: Sequence[str], out: Path
) -> Path:
    """Draw some images twice: with the annotated objects at the left, and with those that are reported at the right."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(records))[:MAX_PAIRS]).tolist()
    tiles = []
    for k in chosen:
        objects, found = records.truth_in(k), records.found_in(k)
        num_reported = int((records.found.scores[found] >= reported.threshold[k]).sum())
        left = Caption(f"annotated: {objects.stop - objects.start}", color=canvas.MUTED)
        right = Caption(f"reported: {num_reported}", color=canvas.MUTED)
        tiles.append(_tile(samples[k], records, k, lambda *view, k=k: _truth(records, k, names, *view), [left]))
        tiles.append(
            _tile(samples[k], records, k, lambda *view, k=k: _found(records, reported, k, names, *view), [right])
        )
    return image_grid.draw(tiles, out, "Annotated objects (left) and reported ones (right)", SIDE, 4)


def _tile(sample: Sample, records: Records, index: int, draw: _Draw, captions: Sequence[Caption]) -> Tile:
    """The image, as large as a tile, with its objects; one that cannot be read stays a path, which the grid explains."""
    try:
        pixels = decode(sample.path, min_side=SIDE)
    except DecodeError:
        return Tile(sample.path, captions)
    height, width = pixels.shape[:2]
    factor = SIDE / max(height, width)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    resized = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    original = records.sizes[index][::-1]
    return Tile(draw(resized, np.tile(np.array(size) / original, 2)), captions)


def _errors(
    records: Records, reported: Outcomes, index: int, names: Sequence[str], image: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    found, truth = records.found_in(index), records.truth_in(index)
    parts: list[tuple[np.ndarray, str, Color]] = []
    for k in (np.flatnonzero(reported.missed[truth]) + truth.start).tolist():
        parts.append((records.truth.boxes[k], f"missed {names[records.truth.labels[k]]}", MISSED))
    for chosen, color in ((reported.wrong, WRONG), (reported.hits, RIGHT)):
        for k in (np.flatnonzero(chosen[found]) + found.start).tolist():
            text = f"{names[records.found.labels[k]]} {records.found.scores[k]:.2f}" if color == WRONG else ""
            parts.append((records.found.boxes[k], text, color))
    boxes = np.array([box for box, _, _ in parts]).reshape(-1, 4) * factors
    return draw_captions(image, boxes, [text for _, text, _ in parts], [color for _, _, color in parts])


def _truth(records: Records, index: int, names: Sequence[str], image: np.ndarray, factors: np.ndarray) -> np.ndarray:
    objects = records.truth_in(index)
    labels = records.truth.labels[objects].tolist()
    crowds = records.truth.crowd[objects].tolist()
    captions = [
        f"{names[label]} (crowd)" if crowd else names[label] for label, crowd in zip(labels, crowds, strict=True)
    ]
    masks = records.truth.masks[objects] if records.truth.masks is not None else None
    return _draw(image, records.truth.boxes[objects] * factors, captions, labels, masks)


def _found(
    records: Records, reported: Outcomes, index: int, names: Sequence[str], image: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    found = records.found_in(index)
    chosen = np.flatnonzero((records.found.scores >= reported.threshold[index])[found]) + found.start
    labels = records.found.labels[chosen].tolist()
    captions = [
        f"{names[label]} {score:.2f}" for label, score in zip(labels, records.found.scores[chosen], strict=True)
    ]
    masks = [records.found.masks[k] for k in chosen.tolist()] if records.found.masks is not None else None
    return _draw(image, records.found.boxes[chosen] * factors, captions, labels, masks)


def _draw(image: np.ndarray, boxes: np.ndarray, captions: list[str], labels: list[int], masks: Any) -> np.ndarray:
    return draw_captions(image, boxes, captions, [class_color(label) for label in labels], masks)
