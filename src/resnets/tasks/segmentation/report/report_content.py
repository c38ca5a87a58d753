"""What the page of a segmentation run shows: the headline, key numbers, a summary, and sections with figures and tables."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from resnets.report import metric_texts
from resnets.report.confused_classes import ConfusedPair
from resnets.report.content import Block, Code, Column, Figure, KeyNumber, ReportContent, Section, Table
from resnets.report.number_formats import count, percent
from resnets.report.run_files import SPLIT_NAMES, RunFiles

RARE = 0.01  # of the pixels


class Evaluated(NamedTuple):
    """What was measured on the images that the figures show.

    Attributes:
        classes: of `summarize.class_rows`.
        groups: of `summarize.group_rows`.
        pairs: the most confused pairs of classes, counted in pixels.
        images: the paths and the mIoU of the images in the gallery.
    """

    classes: Sequence[Mapping[str, Any]]
    groups: Sequence[Mapping[str, Any]]
    pairs: Sequence[ConfusedPair[str]]
    images: Sequence[tuple[str, float]]


def build(files: RunFiles, evaluated: Evaluated | None) -> ReportContent:
    """The content of the page of a run or an evaluation; `evaluated` is None where there were no images to evaluate on."""
    metrics = files.metrics
    headline, explanation = _headline(metrics)
    return ReportContent(
        headline=headline,
        explanation=explanation,
        key_numbers=list(_key_numbers(metrics)),
        summary=list(_summary(metrics, evaluated)) if evaluated else [],
        curves="The losses should fall, and mIoU should rise; the epoch with the highest mIoU on the validation images is kept.",
        sections=list(_sections(files, evaluated)),
    )


def _headline(metrics: Mapping[str, Any]) -> tuple[str, str]:
    if metrics.get("miou") is None:
        return "This model has not been evaluated.", "There are no labeled pixels that it was not trained on."
    measured, total = metrics["num_classes_measured"], metrics["num_classes"]
    interval = metric_texts.interval(metrics, "miou")
    headline = (
        f"The mean IoU is {percent(metrics['miou'])}{f', 95 % interval {interval},' if interval else ''} over {measured} of "
        f"{total} classes; {percent(metrics['pixel_accuracy'])} of the pixels are right."
    )
    split = SPLIT_NAMES.get(metrics.get("split", ""), "")
    explanation = (
        f"Measured on {count(metrics['num_pixels'])} labeled pixels of {count(metrics['count'])} {split} images. The IoU of a "
        "class is the number of pixels where it is both true and predicted, divided by those where it is one of them, over all "
        "images together; the mean is over the classes that are true or predicted somewhere. Ignored pixels are not counted."
    )
    if metrics.get("in_sample"):
        explanation += " The epoch was selected on these images, so that new ones are segmented less well."
    elif metrics.get("folds"):
        explanation += " The epochs were selected on other images than those that they are evaluated on."
    if note := metrics.get("interval_note"):
        explanation += f" There is {note}."
    return headline, explanation + metric_texts.notices(metrics)


def _key_numbers(metrics: Mapping[str, Any]) -> Iterator[KeyNumber]:
    if metrics.get("miou") is None:
        return
    names = {
        "miou": "mean IoU", "mean_dice": "mean Dice", "pixel_accuracy": "pixels right", "mean_accuracy": "mean class recall",
        "boundary_miou": "mean IoU at boundaries", "image_miou_worst_5pct": "mean IoU, worst 5 % of images",
    }  # fmt: skip
    yield from metric_texts.key_numbers(metrics, names)
    if selected := metrics.get("selected"):
        yield KeyNumber("validation mIoU", percent(selected["miou"]), "in-sample")


def _summary(metrics: Mapping[str, Any], evaluated: Evaluated) -> Iterator[str]:
    known = [row for row in evaluated.classes if row["iou"] is not None]
    if len(known) > 1:
        yield metric_texts.extremes(known, "iou", "The IoU")
    if never := [row["class"] for row in known if row["iou"] == 0 and row["recall"] is not None]:
        yield (
            f"Never right: “{'”, “'.join(never)}”. For rare classes, `task.class_weights=median_frequency` or a loss "
            "with dice or lovasz helps."
        )
    if rare := [row["class"] for row in known if row["share"] is not None and 0 < row["share"] < RARE]:
        share = sum(row["share"] for row in known if row["class"] in rare)
        yield (
            f"{len(rare)} of {len(known)} classes have less than {percent(RARE, 0)} of the pixels each, {percent(share)} "
            "together: the mean IoU depends on them as much as on the others."
        )
    if evaluated.pairs:
        pair = evaluated.pairs[0]
        yield f"Most confused: {percent(pair.num_images / pair.total)} of “{pair.true}” are predicted as “{pair.predicted}”."


def _sections(files: RunFiles, evaluated: Evaluated | None) -> Iterator[Section]:
    if evaluated and any(row["iou"] is not None for row in evaluated.classes):
        yield Section("classes", "Class by class", list(_classes(files.metrics, evaluated)))
        yield Section("confusion", "Confused classes", list(_confusion(evaluated)))
        yield Section("images", "Images", list(_images(evaluated)))
    run = shlex.quote(str(files.path))
    code = "resnets predict MODEL IMAGES --masks MASKS"
    if not files.is_evaluation:
        code = f"resnets predict {run} IMAGES --masks MASKS\nresnets evaluate {run} DATA"
    yield Section("use", "Use it", ["Segment new images, or evaluate on other labeled ones:", Code(code)])


def _classes(metrics: Mapping[str, Any], evaluated: Evaluated) -> Iterator[Block]:
    if metrics.get("split") == "val":
        yield (
            "The tables and figures from here on show the validation images, with the final weights, whose epoch was selected "
            "on them."
        )
    yield Figure(
        "class_iou.png", "The IoU of each class, with its interval where there is one, and its part of the pixels"
    )
    measures = {
        "share": "of the pixels", "iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall",
        "boundary_iou": "IoU at boundaries",
    }  # fmt: skip
    columns = [Column("class"), *(Column(name, "number", percent, bar=key == "iou") for key, name in measures.items())]
    yield Table(columns, [[row["class"], *(row[key] for key in measures)] for row in evaluated.classes])
    yield (
        "The IoU at boundaries (boundary IoU) counts only the pixels near the boundary of their class, up to 2 % of the image's "
        "diagonal: where it is much lower, areas are found and their outlines are not exact."
    )
    if evaluated.groups:
        columns = [Column("group"), Column("images", "number", count), Column("mean IoU", "number", percent, bar=True)]
        yield "Each group of images that belong together, such as a video:"
        yield Table(columns, [[row[key] for key in ("group", "images", "miou")] for row in evaluated.groups])


def _confusion(evaluated: Evaluated) -> Iterator[Block]:
    yield "A row is a true class, a column a predicted one; colors are parts of the row."
    yield Figure(
        "confusion_matrix.png", "Confusion matrix of the pixels: rows are true classes, columns predicted ones"
    )
    columns = [
        Column("true"), Column("predicted as"), Column("pixels", "number", count),
        Column("of the class", "number", percent, bar=True),
    ]  # fmt: skip
    rows = [[pair.true, pair.predicted, pair.num_images, pair.num_images / pair.total] for pair in evaluated.pairs]
    yield Table(columns, rows, "Most confused pairs")


def _images(evaluated: Evaluated) -> Iterator[Block]:
    yield "Look for labels that are wrong or shifted: to correct them is often the cheapest way to a better model."
    yield Figure("gallery.jpg", "Images from the worst to the best, with true and predicted classes", photographs=True)
    yield Table([Column("file", "code"), Column("mean IoU", "number", percent)], evaluated.images, summary="Files")
