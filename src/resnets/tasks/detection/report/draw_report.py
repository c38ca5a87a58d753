"""Draw the figures of a detection run and write its HTML page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from resnets.data.datasets.dataset import Sample
from resnets.report.figures import confusion_matrix
from resnets.report.html import page
from resnets.report.run_files import RunFiles
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.detection.metrics import confusion, summarize
from resnets.tasks.detection.metrics.error_types import error_types
from resnets.tasks.detection.records import Records
from resnets.tasks.detection.report import bar_charts, error_crops, image_gallery, report_content, score_curves
from resnets.tasks.detection.report.report_sections import Evaluated
from resnets.tasks.draw_training import draw_training

BACKGROUND = "(nothing)"
# Of the metrics of an epoch.
TITLES = {"box_ap": "AP of boxes", "box_ap50": "AP50 of boxes", "mask_ap": "AP of masks", "mask_ap50": "AP50 of masks"}


def draw(
    run: Path,
    samples: Sequence[Sample],
    records: Records | None,
    class_names: Sequence[str],
    threshold: float,
    monitors: Sequence[Monitor],
) -> None:
    """Draw the figures for which the run directory and the records have data, and write `report.html`.

    Args:
        samples: the images of the records.
        records: of the validation or test images; None where nothing was evaluated.
        threshold: the score from which on objects are reported.
        monitors: of the task.

    Raises:
        JobError: the folder cannot be written to.
    """
    files = RunFiles(run)
    draw_training(files, monitors, TITLES)
    if not records:
        page.write(files, report_content.build(files, None))
        return
    reported = confusion.apply_threshold(records, threshold)
    worst = image_gallery.worst_images(records, reported)
    matrix = confusion.confusion_matrix(records, reported, len(class_names))
    errors = error_types(records, len(class_names))
    shown = samples, records, errors, threshold, class_names, files.path
    evaluated = Evaluated(
        rows=summarize.class_rows(records, class_names, threshold),
        matrix=matrix,
        errors=errors,
        drawn_errors=error_crops.draw_all(*shown),
        unannotated=error_crops.write_unannotated(*shown),
        sizes=confusion.recall_by_size(records, reported),
        worst=[(samples[k].path, *counts) for k, counts in zip(
            worst.tolist(), confusion.image_counts(records, reported)[worst].tolist(), strict=True
        )],
        threshold=threshold,
    )  # fmt: skip
    if records.num_objects:
        score_curves.draw_precision_recall(records, class_names, files.path / "precision_recall.png")
        score_curves.draw_histogram(records, threshold, files.path / "score_histogram.png")
        score_curves.draw_f1(records, class_names, threshold, files.path / "f1.png")
        bar_charts.draw_error_types(evaluated.errors, files.path / "error_types.png")
        bar_charts.draw_recall_by_size(evaluated.sizes, files.path / "recall_by_size.png")
        right = f"{matrix.diagonal().sum():,} of {records.num_objects:,} objects found, with their class"
        used = np.append(matrix[:-1].any(axis=1) | matrix[:, :-1].any(axis=0), True)
        names = [name for name, is_used in zip([*class_names, BACKGROUND], used.tolist(), strict=True) if is_used]
        confusion_matrix.draw(
            csr_array(matrix[used][:, used]), names, files.path / "confusion_matrix.png", right, "objects"
        )
    if len(worst):
        image_gallery.draw_worst(worst, samples, records, reported, class_names, files.path / "worst_images.jpg")
    image_gallery.draw_pairs(samples, records, reported, class_names, files.path / "val_batch_pred.jpg")
    page.write(files, report_content.build(files, evaluated))
