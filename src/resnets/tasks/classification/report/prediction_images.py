"""Images with their true and predicted classes: a random choice (`val_batch_pred.jpg`), the highest losses."""

from pathlib import Path

import numpy as np

from resnets.report.figures import canvas, image_grid
from resnets.report.figures.image_grid import Caption, Tile
from resnets.report.number_formats import percent
from resnets.tasks.classification.prediction_set import Predictions

NUM_TOP_LOSSES = 24


def draw_predictions(predictions: Predictions, out: Path) -> Path:
    """Draw random images with their true and predicted classes; wrong ones are red."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(predictions))[: image_grid.MAX_IMAGES])
    labeled = predictions.labeled[chosen]
    heading = f"{len(chosen)} random images"
    if labeled.any():
        heading += f": {predictions.correct[chosen].sum()} right"
    confidence = predictions.confidence
    return image_grid.draw([_tile(predictions, k, confidence[k]) for k in chosen], out, heading=heading)


def top_losses(labeled: Predictions) -> np.ndarray:
    """The indices of the images with the highest losses; all images must have a label."""
    return np.argsort(-labeled.losses, kind="stable")[:NUM_TOP_LOSSES]


def draw_top_losses(labeled: Predictions, out: Path) -> Path:
    """Draw the images with the highest losses (`top_losses.png`), among them wrong labels."""
    confidence, losses = labeled.confidence, labeled.losses
    tiles = [_tile(labeled, k, confidence[k], losses[k]) for k in top_losses(labeled)]
    return image_grid.draw(tiles, out, heading="Highest losses: true class, predicted class, confidence")


def _tile(predictions: Predictions, k: int, confidence: float, loss: float | None = None) -> Tile:
    path, names, probability = predictions.paths[k], predictions.class_names, percent(confidence, 0)
    file = image_grid.file_caption(path)
    if not predictions.labeled[k]:
        return Tile(path, [Caption(names[predictions.predicted[k]], probability), file])
    color, mark = (canvas.RIGHT, "✓") if predictions.correct[k] else (canvas.WRONG, "✗")
    captions = [
        Caption(names[predictions.true[k]], "" if loss is None else f"loss {loss:.2f}"),
        Caption(f"{mark} {names[predictions.predicted[k]]}", probability, color),
    ]
    return Tile(path, captions if loss is None else [*captions, file], bar=color)
