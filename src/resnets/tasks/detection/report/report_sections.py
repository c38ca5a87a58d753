"""The sections of the page of a detection run, with their figures and tables."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnets.report.content import Block, Code, Column, Figure, Section, Table
from resnets.report.number_formats import count, percent
from resnets.report.run_files import RunFiles
from resnets.tasks.detection.metrics.error_types import ErrorTypes
from resnets.tasks.detection.metrics.metric_tables import used_classes
from resnets.tasks.detection.report.bar_charts import MEANINGS
from resnets.tasks.detection.report.error_crops import UNANNOTATED, figure_name


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was measured on the images that the figures show.

    Attributes:
        rows: of the classes, as `summarize.class_rows` makes them.
        matrix: int64 (K + 1, K + 1), the confusion matrix with the background.
        errors: the error types.
        sizes: the number of objects of each size, and how many of them were found.
        worst: the path of an image, and its numbers of right, wrong and missed objects.
        threshold: the score from which on objects are reported.
        drawn_errors: the types of errors of which there is a figure of crops.
        unannotated: the number of reported boxes where nothing is annotated, which are in a table.
    """

    rows: Sequence[Mapping[str, Any]]
    matrix: np.ndarray
    errors: ErrorTypes
    sizes: Sequence[tuple[int, int]]
    worst: Sequence[tuple[str, int, int, int]]
    threshold: float
    drawn_errors: Sequence[str] = ()
    unannotated: int = 0


def sections(files: RunFiles, evaluated: Evaluated | None) -> Iterator[Section]:
    """The sections; `evaluated` is None where there were no images to evaluate on."""
    if evaluated and evaluated.errors.ap is not None:
        yield Section("classes", "Class by class", _classes(files.metrics, evaluated))
        yield Section("threshold", "Threshold", _threshold(evaluated))
        yield Section("errors", "What goes wrong", _errors(evaluated))
        yield Section("confusion", "Confused classes", _confusion())
        yield Section("sizes", "Small and large objects", _sizes(files.metrics))
    if evaluated:
        yield Section("images", "Images", list(_images(evaluated)))
    run = shlex.quote(str(files.path))
    code = "resnets predict MODEL IMAGES"
    if not files.is_evaluation:
        code = f"resnets predict {run} IMAGES\nresnets evaluate {run} DATA"
    yield Section("use", "Use it", ["Find objects in new images, or evaluate on other annotated ones:", Code(code)])


def _shown(metrics: Mapping[str, Any]) -> str:
    """What images the tables and figures show, if the model was selected on them; else ""."""
    if metrics.get("split") == "val":
        return (
            " The tables and figures from here on show the validation images, with the final weights and threshold, which were "
            "selected on them: less is found in new images, and no intervals are given."
        )
    return ""


def _classes(metrics: Mapping[str, Any], evaluated: Evaluated) -> list[Block]:
    text = (
        "AP50 and AP need no threshold. Recall is the part of the objects that are found, precision the part of what is reported "
        f"that is right, both for boxes with a score of at least {evaluated.threshold:.2f}.{_shown(metrics)}"
    )
    measures = {"box_ap50": "AP50", "box_ap": "AP", "mask_ap50": "AP50 of masks", "mask_ap": "AP of masks"}
    measures = {key: name for key, name in measures.items() if key in evaluated.rows[0]}
    measures |= {"recall": "recall", "precision": "precision", "f1": "F1"}
    columns = [Column("class"), Column("objects", "number", count), Column("reported", "number", count)]
    columns += [Column(name, "number", percent, bar=key.endswith("ap50")) for key, name in measures.items()]
    used, unused = used_classes(evaluated.rows)
    table = Table(columns, [[row[key] for key in ("class", "objects", "reported", *measures)] for row in used])
    return [text, table, *([unused] if unused else [])]


def _threshold(evaluated: Evaluated) -> list[Block]:
    return [
        f"Boxes with a score of at least {evaluated.threshold:.2f} are reported. A higher threshold reports fewer wrong boxes "
        "and misses more objects. F1 is high where both are balanced; the threshold with the highest F1 on the validation images "
        "is used, unless another one is asked for.",
        Figure("f1.png", "F1 as a function of the threshold, for all objects and for each class"),
        "The further a curve reaches to the upper right corner, the better: much is found before wrong boxes are reported.",
        Figure("precision_recall.png", "Precision as a function of recall, for each class and for their mean"),
        "The less the scores of right and of wrong objects overlap, the better they can be told apart by a threshold.",
        Figure("score_histogram.png", "The number of right and of wrong objects by their score"),
    ]


def _errors(evaluated: Evaluated) -> list[Block]:
    text = (
        "Each wrong box has one type of error, and objects that no box comes near are missed. The gain says how many points of "
        "AP50 it would be higher if all errors of this type were corrected. All boxes are counted, also those with scores below "
        "the threshold, as in AP. Many missed objects: more or larger training images of them. Many errors of location: check "
        "how exactly boxes were annotated. Much found where nothing is: look whether annotations are missing."
    )
    columns = [
        Column("type"),
        Column("meaning"),
        Column("errors", "number", count),
        Column("gain, points", "number", "{:.1f}".format),
    ]
    names = sorted(evaluated.errors.gains, key=lambda name: -evaluated.errors.gains[name])
    rows = [[name, MEANINGS[name], evaluated.errors.counts[name], 100 * evaluated.errors.gains[name]] for name in names]
    return [
        text,
        Figure("error_types.png", "The gain of AP50 if a type of error were corrected"),
        Table(columns, rows, "Numbers"),
        *_crops(evaluated),
    ]


def _crops(evaluated: Evaluated) -> Iterator[Block]:
    if evaluated.drawn_errors:
        yield (
            "The worst errors of each type, the highest scores first, and of the missed objects the largest: what was reported "
            "is red, what was annotated is yellow."
        )
    for kind in evaluated.drawn_errors:
        text = ""
        if kind == "background":
            text = (
                "If an object is there, its annotation is missing. "
                f"{UNANNOTATED} in the run directory lists {count(evaluated.unannotated)} with image, box and score."
            )
        yield Figure(figure_name(kind), f"Errors of the type {kind}: {MEANINGS[kind]}", text, photographs=True)


def _confusion() -> list[Block]:
    return [
        "A row is a class of annotated objects, and adds up to their number; a column is what was reported of them. The last "
        "column are objects that were missed, the last row boxes where no object is.",
        Figure("confusion_matrix.png", "Confusion matrix: rows are annotated classes, columns are reported classes"),
    ]


def _sizes(metrics: Mapping[str, Any]) -> list[Block]:
    text = (
        "Which sizes of objects are found. If small ones are missed, a larger input size (data.imgsz) often helps, since "
        "large images are reduced to it."
    )
    limits = {"small": "below 32 × 32 pixels", "medium": "32 × 32 to 96 × 96 pixels", "large": "from 96 × 96 pixels"}
    measures = [Column(name, "number", percent, bar=True) for name in ("AP", "average recall")]
    rows = [[name, area, metrics.get(f"box_ap_{name}"), metrics.get(f"box_ar_{name}")] for name, area in limits.items()]
    table = Table([Column("size"), Column("area"), *measures], rows, "COCO's sizes")
    return [text, Figure("recall_by_size.png", "The part of the objects of each size that are found"), table]


def _images(evaluated: Evaluated) -> Iterator[Block]:
    description = "Images with their annotated objects, and with the reported ones"
    yield Figure("val_batch_pred.jpg", description, "Left: annotated. Right: reported, with scores.", photographs=True)
    if evaluated.worst:
        yield (
            "The images with the most wrong and missed objects. Look for objects that were not annotated, and for wrong classes: "
            "to correct annotations is often the cheapest way to a better model."
        )
        yield Figure(
            "worst_images.jpg", "Images with the most errors: right, wrong and missed objects", photographs=True
        )
        columns = [Column("file", "code"), *(Column(name, "number", count) for name in ("right", "wrong", "missed"))]
        yield Table(columns, evaluated.worst, summary="Files")
