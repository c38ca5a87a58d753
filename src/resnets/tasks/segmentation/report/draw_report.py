"""Draw the figures of a segmentation run and write its HTML page."""

from collections.abc import Sequence
from pathlib import Path

from resnets.data.datasets.dataset import Sample
from resnets.report.confused_classes import most_confused_pairs
from resnets.report.figures import confusion_matrix
from resnets.report.html import page
from resnets.report.number_formats import percent
from resnets.report.run_files import RunFiles
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.draw_training import draw_training
from resnets.tasks.measurements import Measurements
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.metrics import records, summarize
from resnets.tasks.segmentation.report import class_bars, gallery, report_content
from resnets.tasks.segmentation.report.report_content import Evaluated
from resnets.tasks.segmentation.write_predictions import colors_of

MAX_PAIRS = 10


def draw(
    run: Path,
    samples: Sequence[Sample],
    measurements: Measurements | None,
    class_names: Sequence[str],
    config: SegmentationConfig,
    monitors: Sequence[Monitor],
) -> None:
    """Draw the figures for which the run directory and the measurements have data, and write `report.html`.

    Args:
        samples: the images of the measurements.
        measurements: of the validation or test images; None where nothing was evaluated.
        monitors: of the task.

    Raises:
        JobError: the folder cannot be written to.
    """
    files = RunFiles(run)
    draw_training(files, monitors, {"miou": "mean IoU", "pixel_accuracy": "pixels right"})
    if measurements is None or not len(measurements):
        page.write(files, report_content.build(files, None))
        return
    from scipy.sparse import csr_array  # slow to import

    found, colors = records.of(measurements), colors_of(config, len(class_names))
    rows = summarize.class_rows(found, class_names, intervals=not files.shows_selection_images)
    mious = summarize.image_miou(found)
    matrix, chosen = csr_array(found.matrix), gallery.choose(mious)
    if chosen:
        class_bars.draw(rows, colors, files.path / "class_iou.png")
        right, total = found.matrix.diagonal().sum(), found.matrix.sum()
        heading = f"{percent(right / total)} of {total:,} pixels right"
        confusion_matrix.draw(matrix, class_names, files.path / "confusion_matrix.png", heading, "pixels")
        previews = measurements["preview"]
        gallery.draw(chosen, samples, previews, mious, class_names, colors, files.path / "gallery.jpg")
    evaluated = Evaluated(
        classes=rows,
        groups=summarize.group_rows(found, samples),
        pairs=most_confused_pairs(matrix, class_names, MAX_PAIRS),
        images=[(samples[index].path, float(mious[index])) for index in chosen],
    )
    page.write(files, report_content.build(files, evaluated))
