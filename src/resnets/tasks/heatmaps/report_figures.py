"""Figures of heat maps in the report of a run: of the worst mistakes, and of one image of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnets.report.content import Block, Figure
from resnets.report.figures import image_grid
from resnets.report.figures.image_grid import Caption, Tile
from resnets.tasks.heatmaps.compute_heatmaps import has_network_in_memory, with_heatmaps
from resnets.tasks.heatmaps.heatmap import Heatmap, largest_value

OF_MISTAKES, OF_CLASSES = "heatmaps_of_mistakes.png", "heatmaps_of_classes.png"
MAX_MISTAKES, MAX_CLASSES = 8, 24
MIN_CELLS = 9  # of a map; fewer show hardly any place
_BATCH = 8
_MOST_COLUMNS = 6
_EXPLANATION = (
    "Heat maps: red raises the logit of the class, blue lowers it; the maps of one image have one color scale. They show where "
    "the network looks, not whether it is right to do so."
)


class Example(NamedTuple):
    """An image with the lines below it, and the classes whose maps stand beside it, each with its caption and its color."""

    path: str
    captions: Sequence[Caption]
    maps: Sequence[tuple[str, str, str]]


def draw(model: Any, examples: Sequence[Example], out: Path, heading: str) -> list[Path]:
    """Draw each image beside its maps.

    Args:
        model: the `TrainedModel` that was evaluated, or None.
        out: the image file.

    Returns:
        `out`, or nothing where there are no examples, no classifier whose network is in memory
        (an exported file has none), or only maps of fewer cells than `MIN_CELLS`.

    Raises:
        JobError: the folder cannot be written to.
    """
    if not examples or model is None or not has_network_in_memory(model):
        return []
    wanted = {example.path: [name for name, _, _ in example.maps] for example in examples}
    paths = [example.path for example in examples]
    predictions = list(
        with_heatmaps(model, paths, lambda prediction: wanted[prediction.path], batch=_BATCH, workers=None)
    )
    if all(each.values.size < MIN_CELLS for prediction in predictions for each in prediction.heatmaps):
        return []
    in_group = 1 + max(len(example.maps) for example in examples)
    tiles: list[Tile] = []
    for example, prediction in zip(examples, predictions, strict=True):
        found = list(_tiles(example, prediction.heatmaps))
        tiles += found + [_blank()] * (in_group - len(found))
    columns = in_group * max(_MOST_COLUMNS // in_group, 1)
    return [image_grid.draw(tiles, out, heading=heading, columns=columns)]


def blocks(run: Path, name: str, description: str) -> list[Block]:
    """The figure `name` of the run directory with what it shows, if it was drawn."""
    return [Figure(name, description, _EXPLANATION, photographs=True)] if (run / name).is_file() else []


def _tiles(example: Example, heatmaps: Sequence[Heatmap]) -> Iterator[Tile]:
    """The image and its maps; those of an image that cannot be read any more are missing."""
    yield Tile(example.path, example.captions)
    limit = largest_value(heatmaps)
    for heatmap, (_, caption, color) in zip(heatmaps, example.maps, strict=False):
        yield Tile(heatmap.over_image(limit, image_grid.TILE), [Caption(caption, f"{heatmap.logit:.1f}", color)])


def _blank() -> Tile:
    return Tile(np.full((1, 1, 3), 255, np.uint8))
