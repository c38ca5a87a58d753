"""The images whose heat maps are in the report of a classification run."""

import numpy as np

from resnets.report.figures import canvas
from resnets.report.figures.image_grid import Caption, file_caption
from resnets.report.number_formats import percent
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.report.prediction_images import top_losses
from resnets.tasks.heatmaps.report_figures import MAX_CLASSES, MAX_MISTAKES, Example


def mistakes(labeled: Predictions) -> list[Example]:
    """The wrong predictions with the highest losses, with the maps of the predicted and of the true class."""
    names = labeled.class_names
    found = []
    for k in [k for k in top_losses(labeled) if not labeled.correct[k]][:MAX_MISTAKES]:
        predicted, true = names[labeled.predicted[k]], names[labeled.true[k]]
        maps = [(predicted, f"✗ {predicted}", canvas.WRONG), (true, true, canvas.RIGHT)]
        found.append(Example(labeled.paths[k], [file_caption(labeled.paths[k])], maps))
    return found


def of_classes(labeled: Predictions) -> list[Example]:
    """A right prediction of each of the largest classes, the one whose confidence is the median, with the map of the class."""
    names, confidence = labeled.class_names, labeled.confidence
    counts = np.bincount(labeled.true, minlength=len(names))
    largest = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
    found = []
    for index in largest.tolist():
        right = np.flatnonzero(labeled.correct & (labeled.true == index))
        if not len(right):
            continue
        k = right[np.argsort(confidence[right], kind="stable")[(len(right) - 1) // 2]]
        lines = [file_caption(labeled.paths[k]), Caption("confidence", percent(confidence[k], 0), canvas.MUTED)]
        found.append(Example(labeled.paths[k], lines, [(names[index], names[index], canvas.RIGHT)]))
    return found
