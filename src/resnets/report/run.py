"""The figures of a run and its offline page, drawn from values and from the files of the run folder."""

from __future__ import annotations

from pathlib import Path

from resnets.report import confusion, curves, folder, gallery, page, reliability
from resnets.tasks import metrics
from resnets.tasks.predictions import Predictions


def draw_all(run: str | Path, predictions: Predictions | None) -> list[Path]:
    """Draw what the run folder and the predictions of its best weights allow; what cannot be drawn is left out.

    Args:
        run: the run folder with the journal and the tables of the run.
        predictions: those on the validation images; None, or without images or labels, when there are none.

    Returns:
        The files written, `report.html` last.

    Raises:
        JobError: the folder cannot be written to.
    """
    run = Path(run)
    drawn = []
    rows = folder.read(run).rows
    if rows:
        drawn.append(curves.draw(rows, run / "results.png"))
    if predictions is not None and len(predictions):
        if predictions.labeled.any():
            matrix = metrics.confusion(predictions)
            drawn.append(confusion.draw(matrix, predictions.classes, run / "confusion_matrix.png"))
            drawn.append(reliability.draw(predictions, run / "reliability.png"))
            drawn.append(gallery.worst(predictions, run / "top_losses.png"))
        drawn.append(gallery.predictions(predictions, run / "val_batch_pred.jpg"))
    drawn.append(page.write(run))
    return drawn
