"""Draw the figures of a run and write its HTML page."""

from __future__ import annotations

from pathlib import Path

from resnets.report.figures import confusion_matrix, image_grid, reliability_diagram, training_curves
from resnets.report.html import page, run_files
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions


def draw_all(run: str | Path, predictions: Predictions | None) -> list[Path]:
    """Draw the figures for which the run directory and the predictions of its best weights have data, and the page.

    Args:
        run: the run directory, with the metrics and the tables of the run.
        predictions: for the validation or test images; None, or without images or labels, where there are none.

    Returns:
        The files written, `report.html` last.

    Raises:
        JobError: the folder cannot be written to.
    """
    run = Path(run)
    drawn = []
    rows = run_files.read(run).rows
    if rows:
        drawn.append(training_curves.draw(rows, run / "results.png"))
    if predictions is not None and len(predictions):
        if predictions.labeled.any():
            matrix = metrics.confusion(predictions)
            drawn.append(confusion_matrix.draw(matrix, predictions.class_names, run / "confusion_matrix.png"))
            drawn.append(reliability_diagram.draw(predictions, run / "reliability.png"))
            drawn.append(image_grid.draw_top_losses(predictions, run / "top_losses.png"))
        drawn.append(image_grid.draw_predictions(predictions, run / "val_batch_pred.jpg"))
    drawn.append(page.write(run))
    return drawn
