"""Draw the training curves of a task whose metrics are fractions and whose loss has several terms."""

from collections.abc import Mapping, Sequence

from resnets.report.figures import training_curves
from resnets.report.figures.training_curves import Panel
from resnets.report.number_formats import percent
from resnets.report.run_files import RunFiles
from resnets.tasks import best_epoch
from resnets.tasks.best_epoch import Monitor


def draw_training(files: RunFiles, monitors: Sequence[Monitor], titles: Mapping[str, str]) -> None:
    """Draw `results.png`: the loss, the metrics of `titles` in percent, and all else that was logged; nothing without epochs.

    Args:
        monitors: of the task; the best value of the first, which is one of `titles`, is in the heading.
        titles: what the figure calls a metric.
    """
    if not files.rows:
        return
    best, metric = best_epoch.best_row(files.rows, monitors), monitors[0].metric
    heading = ""
    if best is not None and best.get(f"val/{metric}") is not None:  # there may be nothing to measure
        value = percent(best[f"val/{metric}"])
        heading = f"Best epoch {best['epoch']:.0f}: {titles[metric]} {value} on the validation images"
    columns = [panel.column for panel in training_curves.find_panels(files.rows)]
    first = ["loss", *titles]
    columns.sort(key=lambda column: first.index(column) if column in first else len(first))
    panels = [
        Panel(column, f"{titles[column]}, %", 100)
        if column in titles
        else Panel(column, column.replace("loss_", "loss: ").replace("_", " "))
        for column in columns
    ]
    training_curves.draw(
        files.rows,
        files.path / "results.png",
        heading=heading,
        panels=panels,
        best_epoch=best["epoch"] if best else None,
    )
