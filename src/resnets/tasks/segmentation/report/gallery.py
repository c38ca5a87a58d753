"""Images from the worst to the best: the image, the true classes, the predicted ones, and where they differ (`gallery.jpg`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.data.image.decode import DecodeError, decode
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.report.figures import canvas, image_grid
from resnets.report.figures.class_color import Color
from resnets.report.figures.image_grid import Caption, Tile
from resnets.report.number_formats import percent
from resnets.tasks.segmentation.metrics import records

SIDE = records.PREVIEW_SIDE
MAX_WORST, MAX_OTHERS = 5, 4  # images
_IGNORED: Color = (235, 238, 242)
_RIGHT_BRIGHTNESS = 0.35  # of the contrast of a right pixel


def choose(scores: np.ndarray) -> list[int]:
    """The worst images by a score (N,) without NaN at first, then others at even steps up to the best one."""
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    worst, others = order[:MAX_WORST], order[MAX_WORST:]
    steps = np.unique(np.linspace(0, len(others) - 1, min(MAX_OTHERS, len(others))).round().astype(int))
    return [*worst.tolist(), *others[steps].tolist()]


def draw(
    chosen: Sequence[int],
    samples: Sequence[Sample],
    previews: Sequence[Tensor],
    mious: np.ndarray,
    class_names: Sequence[str],
    colors: Sequence[Color],
    out: Path,
) -> Path:
    """Draw a row for each chosen image, of which there is at least one.

    Args:
        previews: of all images, from `records.pack`.
        mious: (N,), of each image.
    """
    tiles: list[Tile] = []
    for index in chosen:
        sample, predicted = samples[index], records.unpack(previews[index])
        truth = records.shrink(sample.target.read(class_names), SIDE)
        try:
            pixels = _resized(decode(sample.path, min_side=SIDE), predicted.shape)
        except DecodeError:
            continue
        name = Caption(Path(sample.path).name, color=canvas.MUTED)
        labeled = truth != IGNORE
        wrong = float((predicted != truth)[labeled].mean()) if labeled.any() else 0.0
        tiles += [
            Tile(pixels, [name]),
            Tile(_colored(truth, colors), [Caption("true", color=canvas.MUTED)]),
            Tile(_colored(predicted, colors), [Caption("predicted", f"mIoU {percent(mious[index])}")]),
            Tile(_differences(pixels, truth, predicted), [Caption("wrong", percent(wrong), canvas.WRONG)]),
        ]
    heading = "From the worst image to the best: wrong pixels are red, ignored ones light"
    return image_grid.draw(tiles, out, heading, SIDE, 4)


def _resized(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _colored(mask: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    table = np.full((256, 3), _IGNORED, np.uint8)
    table[: len(colors)] = colors
    return table[mask]


def _differences(pixels: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    gray = pixels.mean(axis=2, keepdims=True)
    right = np.repeat(255 - (255 - gray) * _RIGHT_BRIGHTNESS, 3, axis=2)
    wrong = 0.25 * gray + 0.75 * np.array(ImageColor.getrgb(canvas.WRONG)[:3])
    is_wrong, is_ignored = (truth != predicted)[..., None], (truth == IGNORE)[..., None]
    return np.where(is_ignored, np.array(_IGNORED), np.where(is_wrong, wrong, right)).round().astype(np.uint8)
