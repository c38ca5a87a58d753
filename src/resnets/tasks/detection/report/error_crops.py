"""The worst errors of each type, cut out of their images (`errors_TYPE.jpg`), and what is probably not annotated
(`probable_missing_annotations.csv`).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from resnets import atomic_write
from resnets.data.datasets.dataset import Sample
from resnets.data.image.decode import DecodeError, decode
from resnets.report.figures import canvas, image_grid
from resnets.report.figures.image_grid import Caption, Tile
from resnets.tasks.detection.draw_objects import draw_captions
from resnets.tasks.detection.metrics.error_types import FALSE_POSITIVES, NAMES, ErrorTypes
from resnets.tasks.detection.records import Records
from resnets.tasks.detection.report.bar_charts import MEANINGS
from resnets.tasks.detection.report.image_gallery import MISSED, WRONG

MAX_CROPS = 12  # of each type
SIDE = 360  # pixels of a tile
MARGIN = 0.4  # of the longer side of a box, around it
MIN_SIDE = 48  # pixels of the image that a crop shows at least
DECODED_SIDE = 1200  # least shorter side in pixels that a large JPEG is decoded at
UNANNOTATED = "probable_missing_annotations.csv"


def figure_name(kind: str) -> str:
    return f"errors_{kind}.jpg"


def draw_all(
    samples: Sequence[Sample], records: Records, errors: ErrorTypes, threshold: float, names: Sequence[str], run: Path
) -> list[str]:
    """Draw a sheet for each type of error that there is, the worst first, and return the types.

    Wrong boxes are ordered by their scores, from `threshold` on, and missed objects by their areas.
    """
    read = lru_cache(maxsize=1)(lambda path: decode(path, min_side=DECODED_SIDE))
    drawn = []
    for kind in NAMES:
        chosen = worst(records, errors, kind, threshold)
        # Image by image, so that each is decoded once.
        by_image = sorted(chosen, key=lambda k: _image(records, kind, k))
        tiles = {k: _tile(samples, records, kind, k, names, read) for k in by_image}
        if tiles:
            heading = f"{kind[:1].upper()}{kind[1:]}: {MEANINGS[kind]}"
            image_grid.draw([tiles[k] for k in chosen], run / figure_name(kind), heading, SIDE, 4)
            drawn.append(kind)
    return drawn


def worst(records: Records, errors: ErrorTypes, kind: str, threshold: float) -> list[int]:
    """Indices of the found objects with the errors of a type or, for "missed", of the annotated objects."""
    if kind == "missed":
        objects = np.flatnonzero(errors.missed)
        return objects[np.argsort(-records.truth.area[objects], kind="stable")][:MAX_CROPS].tolist()
    return _reported(records, errors, kind, threshold)[:MAX_CROPS].tolist()


def write_unannotated(
    samples: Sequence[Sample], records: Records, errors: ErrorTypes, threshold: float, names: Sequence[str], run: Path
) -> int:
    """Write the reported boxes where nothing is annotated, the highest score first, and return their number.

    A row has the path of the image, the class, the score, and x1, y1, x2, y2 in pixels of the image.
    """
    rows = []
    for k in _reported(records, errors, "background", threshold).tolist():
        box = dict(
            zip(("x1", "y1", "x2", "y2"), (round(float(value), 1) for value in records.found.boxes[k]), strict=True)
        )
        score = round(float(records.found.scores[k]), 4)
        rows.append(
            {
                "path": samples[records.found_image[k]].path,
                "class": names[records.found.labels[k]],
                "score": score,
                **box,
            }
        )
    if rows:
        atomic_write.write_csv(run / UNANNOTATED, rows)
    return len(rows)


def _reported(records: Records, errors: ErrorTypes, kind: str, threshold: float) -> np.ndarray:
    of_kind = errors.kind == FALSE_POSITIVES.index(kind)
    found = np.flatnonzero(of_kind & (records.found.scores >= threshold))
    return found[np.argsort(-records.found.scores[found], kind="stable")]


def _image(records: Records, kind: str, index: int) -> int:
    return int((records.truth_image if kind == "missed" else records.found_image)[index])


def _tile(
    samples: Sequence[Sample],
    records: Records,
    kind: str,
    index: int,
    names: Sequence[str],
    read: Callable[[str], np.ndarray],
) -> Tile:
    """The box of an error in red, and the annotated objects around it in yellow."""
    image = _image(records, kind, index)
    if kind == "missed":
        box, caption = records.truth.boxes[index], names[records.truth.labels[index]]
    else:
        box = records.found.boxes[index]
        caption = f"{names[records.found.labels[index]]} {records.found.scores[index]:.2f}"
    path = samples[image].path
    captions = [Caption(caption), Caption(Path(path).name, color=canvas.MUTED)]
    try:
        pixels = read(path)
    except DecodeError:
        return Tile(path, captions)
    objects = records.truth_in(image)
    boxes, texts = [*records.truth.boxes[objects]], [names[label] for label in records.truth.labels[objects].tolist()]
    colors = [MISSED] * len(boxes)
    if kind != "missed":
        boxes, texts, colors = [box, *boxes], ["", *texts], [WRONG, *colors]
    factor = pixels.shape[1] / records.sizes[image][1]
    left, top, right, bottom = _window(box, records.sizes[image])
    shown = [k for k, (x1, y1, x2, y2) in enumerate(boxes) if x1 < right and x2 > left and y1 < bottom and y2 > top]
    crop = pixels[round(top * factor) : round(bottom * factor), round(left * factor) : round(right * factor)]
    # At the size of the tile, so that the names of the classes can be read.
    zoom = SIDE / max(crop.shape[:2])
    size = max(round(crop.shape[1] * zoom), 1), max(round(crop.shape[0] * zoom), 1)
    crop = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BICUBIC))
    moved = (np.array([boxes[k] for k in shown]) - [left, top, left, top]) * factor * zoom
    return Tile(draw_captions(crop, moved, [texts[k] for k in shown], [colors[k] for k in shown]), captions)


def _window(box: np.ndarray, size: np.ndarray) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of the shown part of an image of `size` (height, width)."""
    height, width = size.tolist()
    x1, y1, x2, y2 = (float(value) for value in box)
    half = max((0.5 + MARGIN) * max(x2 - x1, y2 - y1), MIN_SIDE / 2)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height)
