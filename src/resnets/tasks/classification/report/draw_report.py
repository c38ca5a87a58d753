"""Draw the figures of a classification run and write its HTML page."""

from pathlib import Path
from typing import Any

from resnets.report.figures import confusion_matrix, training_curves
from resnets.report.figures.training_curves import Panel
from resnets.report.html import page
from resnets.report.run_files import RunFiles
from resnets.tasks.best_epoch import best_row
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.classification.report import (
    heatmap_examples,
    prediction_images,
    reliability_diagram,
    report_content,
)
from resnets.tasks.classification.selection import MONITOR
from resnets.tasks.heatmaps import report_figures


def draw_all(run: str | Path, predictions: Predictions | None, model: Any = None) -> list[Path]:
    """Draw the figures for which the run directory and the predictions of its best weights have data, and the page.

    Args:
        run: the run directory, with the metrics and the tables of the run.
        predictions: for the validation or test images; None, or without images or labels, where there are none.
        model: the `TrainedModel` that made them, for its heat maps; None where there is none, or where there are several.

    Returns:
        The files written, `report.html` last.

    Raises:
        JobError: the folder cannot be written to.
    """
    files, drawn = RunFiles(run), []
    run = files.path
    if files.rows:
        best = (best_row(files.rows, MONITOR) or {}).get("epoch")
        heading = f"Best epoch: {best:.0f} of {len(files.rows)}" if best else ""
        panels = [Panel("loss", "Loss"), Panel("accuracy_top1", "Accuracy, %", factor=100)]
        curves = training_curves.draw(files.rows, run / "results.png", heading=heading, panels=panels, best_epoch=best)
        drawn.append(curves)
    labeled = predictions.with_labels() if predictions else None
    if labeled:
        drawn += [
            confusion_matrix.draw(metrics.confusion(labeled), labeled.class_names, run / "confusion_matrix.png"),
            reliability_diagram.draw(labeled, run / "reliability.png"),
            prediction_images.draw_top_losses(labeled, run / "top_losses.png"),
            *_draw_heatmaps(run, labeled, model),
        ]
    if predictions:
        drawn.append(prediction_images.draw_predictions(predictions, run / "val_batch_pred.jpg"))
    drawn.append(page.write(files, report_content.build(files, predictions)))
    return drawn


def _draw_heatmaps(run: Path, labeled: Predictions, model: Any) -> list[Path]:
    mistakes, classes = heatmap_examples.mistakes(labeled), heatmap_examples.of_classes(labeled)
    first, second = run / report_figures.OF_MISTAKES, run / report_figures.OF_CLASSES
    return [
        *report_figures.draw(
            model,
            mistakes,
            first,
            "The worst mistakes: maps of the predicted (✗) and the true class, with their logits",
        ),
        *report_figures.draw(
            model, classes, second, "A right prediction of each class, and the map of the class with its logit"
        ),
    ]
