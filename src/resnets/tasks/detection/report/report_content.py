"""What the page of a detection run shows: the headline, key numbers, and its sections with their figures and tables."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnets.report.content import Block, Code, Column, Figure, KeyNumber, ReportContent, Section, Table
from resnets.report.number_formats import count, percent
from resnets.report.run_files import SPLIT_NAMES, RunFiles
from resnets.tasks.detection.metrics.error_types import ErrorTypes
from resnets.tasks.detection.metrics_table import used_classes
from resnets.tasks.detection.report.bar_charts import MEANINGS, size_names
from resnets.tasks.detection.report.error_crops import UNANNOTATED, figure_name

_FEW_OBJECTS = 20  # of a class in the evaluated images: its numbers say little


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


def build(files: RunFiles, evaluated: Evaluated | None) -> ReportContent:
    """The content of the page of a run or an evaluation; `evaluated` is None where there were no images to evaluate on."""
    metrics = files.metrics
    headline, explanation = _headline(metrics)
    return ReportContent(
        headline=headline,
        explanation=explanation,
        key_numbers=list(_key_numbers(metrics)),
        summary=list(_summary(metrics, evaluated)) if evaluated else [],
        curves="The losses should fall, and AP should rise; the epoch with the highest AP on the validation images is kept.",
        sections=list(_sections(files, evaluated)),
    )


def _headline(metrics: Mapping[str, Any]) -> tuple[str, str]:
    if not metrics.get("count"):
        return "This model has not been evaluated.", "There are no annotated images that it was not trained on."
    if metrics.get("box_ap") is None:
        return (
            "There were no objects to find.",
            f"None of the {metrics['count']:,} evaluated images has an annotated object.",
        )
    headline = (
        f"The model finds {percent(metrics['recall_micro'])} of the objects, and {percent(metrics['precision_micro'])} of what "
        f"it reports is right; AP50 is {percent(metrics['box_ap50'])}{_within(metrics, 'box_ap50')}."
    )
    split = SPLIT_NAMES.get(metrics.get("split", ""), "")
    explanation = (
        f"Measured on {metrics['num_objects']:,} objects in {metrics['count']:,} {split} images. An object is found if a "
        "reported box of its class overlaps its own by at least half (IoU 0.5); boxes with a score of at least "
        f"{metrics['threshold']:.2f} are reported. AP, the average precision, needs no threshold: AP50 is the mean over the "
        "classes at an IoU of 0.5, AP also over stricter ones up to 0.95, as COCO defines it."
    )
    if metrics["max_detections"] != 100:
        explanation += (
            f" Up to {metrics['max_detections']} objects of a class in an image are counted, instead of COCO's 100."
        )
    if metrics.get("in_sample"):
        explanation += (
            " The epoch or the threshold was selected on these images, so that it finds less in new ones; therefore no "
            "intervals are given."
        )
    elif metrics.get("folds"):
        explanation += " Epochs and thresholds were selected on other images than those that they are evaluated on."
    explanation += "".join(f" {notice[:1].upper()}{notice[1:]}." for notice in metrics.get("notices", []))
    return headline, explanation


def _interval(metrics: Mapping[str, Any], key: str) -> str:
    """`71.2 % to 80.5 %`; "" where there is none, or where the images were used for selection."""
    ends = None if metrics.get("in_sample") else metrics.get(f"{key}_interval")
    return f"{percent(ends[0])} to {percent(ends[1])}" if ends else ""


def _within(metrics: Mapping[str, Any], key: str) -> str:
    return f", 95 % interval {interval}" if (interval := _interval(metrics, key)) else ""


def _key_numbers(metrics: Mapping[str, Any]) -> Iterator[KeyNumber]:
    if metrics.get("box_ap") is None:
        return
    names = {
        "box_ap50": "AP50 of boxes", "box_ap": "AP of boxes", "mask_ap50": "AP50 of masks", "mask_ap": "AP of masks",
        "recall_micro": "objects found", "precision_micro": "reports right", "f1_micro": "F1",
    }  # fmt: skip
    for key, name in names.items():
        if metrics.get(key) is not None:
            yield KeyNumber(name, percent(metrics[key]), _interval(metrics, key))
    wrong, missed = metrics["false_positives"], metrics["false_negatives"]
    yield KeyNumber("objects", count(metrics["num_objects"]), f"{count(missed)} missed; {count(wrong)} wrong reports")
    if selected := metrics.get("selected"):
        yield KeyNumber("validation AP", percent(selected["box_ap"]), "in-sample")


def _summary(metrics: Mapping[str, Any], evaluated: Evaluated) -> Iterator[str]:
    known = [row for row in evaluated.rows if row["box_ap50"] is not None]
    if len(known) > 1:
        lowest, highest = min(known, key=lambda row: row["box_ap50"]), max(known, key=lambda row: row["box_ap50"])
        yield (
            f"AP50 is highest for “{highest['class']}” ({percent(highest['box_ap50'])}) and lowest for “{lowest['class']}” "
            f"({percent(lowest['box_ap50'])})."
        )
    if evaluated.errors.ap is not None:
        name = max(evaluated.errors.gains, key=lambda each: evaluated.errors.gains[each])
        gain = 100 * evaluated.errors.gains[name]
        if gain > 0:
            yield f"The most costly type of error is “{name}” ({MEANINGS[name]}): it costs {gain:.1f} points of AP50."
    sizes = [(total, found, name) for (total, found), name in zip(evaluated.sizes, size_names(), strict=True)]
    enough = [each for each in sizes if each[0] >= _FEW_OBJECTS]
    if len(enough) > 1:
        total, found, name = min(enough, key=lambda each: each[1] / each[0])
        yield f"Objects of {name} are found least often: {count(found)} of {count(total)}."
    used = used_classes(evaluated.rows)[0]
    if few := [row["class"] for row in used if row["objects"] < _FEW_OBJECTS]:
        yield (
            f"{count(len(few))} of {count(len(used))} classes have fewer than {_FEW_OBJECTS} objects here, such as "
            f"“{few[0]}”; their numbers say little."
        )


def _sections(files: RunFiles, evaluated: Evaluated | None) -> Iterator[Section]:
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
