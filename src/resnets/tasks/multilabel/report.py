"""The figures and the page of a multi-label run."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.report import metric_texts
from resnets.report.content import Block, Code, Column, Figure, KeyNumber, ReportContent, Section, Table
from resnets.report.figures import canvas, image_grid, training_curves
from resnets.report.figures.image_grid import Caption, Tile
from resnets.report.figures.training_curves import Panel
from resnets.report.html import page
from resnets.report.number_formats import count, percent
from resnets.report.run_files import SPLIT_NAMES, RunFiles
from resnets.tasks import best_epoch
from resnets.tasks.best_epoch import Monitor
from resnets.tasks.heatmaps import report_figures
from resnets.tasks.multilabel import confused_labels, heatmap_examples
from resnets.tasks.multilabel.metrics import Labels

NUM_WORST, MAX_PAIRS = 24, 30
WORST = "worst_images.png"


@dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation; `rows` are those of the classes, as `tables.class_rows` makes them."""

    samples: Sequence[Sample]
    labels: Labels | None  # what was found for the samples; None where nothing was evaluated
    class_names: Sequence[str]
    rows: Sequence[Mapping[str, Any]]

    @cached_property
    def losses(self) -> np.ndarray:
        """float64 (N,): the cross-entropy of each image, summed over the classes."""
        if self.labels is None:
            return np.zeros(0)
        logits = self.labels.logits.astype(np.float64)
        return (np.logaddexp(0, logits) - logits * self.labels.true).sum(1)

    @property
    def worst(self) -> list[int]:
        """The indices of the images with the highest losses."""
        return np.argsort(-self.losses, kind="stable")[:NUM_WORST].tolist()

    def names(self, chosen: np.ndarray) -> str:
        """The chosen classes, bool (K,)."""
        return ", ".join(self.class_names[k] for k in np.flatnonzero(chosen).tolist()) or "none"


def draw(run: Path, found: Evaluated, monitors: Sequence[Monitor], model: Any = None) -> None:
    """Draw the training curves, the worst images and heat maps, and write `report.html`.

    Args:
        monitors: of the task.
        model: the `TrainedModel` that was evaluated, for its heat maps; None where there is none, or where there are several.

    Raises:
        JobError: the folder cannot be written to.
    """
    files = RunFiles(run)
    best = best_epoch.best_row(files.rows, monitors)
    if files.rows:
        panels = [
            Panel("loss", "Loss"),
            Panel("map", "mAP, %", factor=100),
            Panel("f1_micro", "F1, micro, at a threshold of 0.5, %", factor=100),
        ]
        heading, epoch = "", None
        if best is not None:
            epoch = best["epoch"]
            heading = f"Best epoch {epoch:.0f}: mAP {percent(best['val/map'])} on the validation images"
        out = files.path / "results.png"
        training_curves.draw(files.rows, out, heading=heading, panels=panels, best_epoch=epoch)
    if found.worst:
        tiles = [_tile(found, k) for k in found.worst]
        heading = "Highest losses: right labels, missed ones (–), added ones (+)"
        image_grid.draw(tiles, files.path / WORST, heading=heading)
    if found.labels is not None and model is not None:
        _draw_heatmaps(files.path, found, found.labels, model)
    page.write(files, _content(files, found))


def _draw_heatmaps(run: Path, found: Evaluated, labels: Labels, model: Any) -> None:
    names, samples = found.class_names, found.samples
    wrong = heatmap_examples.mistakes(samples, labels, names, found.worst)
    heading = "The worst mistakes: maps of missed (–) and added (+) labels, with their logits"
    report_figures.draw(model, wrong, run / report_figures.OF_MISTAKES, heading)
    right = heatmap_examples.of_classes(samples, labels, names)
    heading = "An image with each label, rightly found: the map of the label, with its logit"
    report_figures.draw(model, right, run / report_figures.OF_CLASSES, heading)


def _tile(found: Evaluated, k: int) -> Tile:
    assert found.labels is not None
    path, true, predicted = found.samples[k].path, found.labels.true[k], found.labels.predicted[k]
    wrong = [
        Caption(f"{sign} {found.names(chosen)}", color=canvas.WRONG)
        for sign, chosen in (("–", true & ~predicted), ("+", predicted & ~true))
        if chosen.any()
    ]
    right = Caption(f"✓ {found.names(true & predicted)}", color=canvas.RIGHT)
    file = Caption(Path(path).name, color=canvas.MUTED)
    return Tile(path, [right, *wrong, file], bar=canvas.WRONG if wrong else canvas.RIGHT)


def _content(files: RunFiles, found: Evaluated) -> ReportContent:
    metrics = files.metrics
    split = SPLIT_NAMES.get(metrics.get("split", "val"), "")
    if not metrics.get("count") or metrics.get("map") is None:
        headline = "This model has not been evaluated."
        explanation = "There are no labeled images that it was not trained on."
    else:
        headline = f"The mean average precision (mAP) is {percent(metrics['map'])}"
        headline += f", 95 % interval {_range(metrics['map_interval'])}." if metrics.get("map_interval") else "."
        explanation = (
            f"Measured on {metrics['count']:,} {split} images. The average precision of a class is 100 % if its images come "
            "first where all images are ordered by the probability of the class; mAP is the mean over the classes. F1 is the "
            "harmonic mean of precision and recall of the labels that reach the threshold of their class."
        )
        if metrics.get("folds"):
            explanation += " Epochs and thresholds were selected on other images than those that they are evaluated on."
        explanation += metric_texts.notices(metrics)
    return ReportContent(
        headline=headline,
        explanation=explanation,
        key_numbers=list(_key_numbers(metrics)),
        summary=list(_summary(metrics, found.rows)),
        curves="The loss is the cross-entropy summed over the classes; the epoch with the highest validation mAP is kept.",
        sections=list(_sections(files, found)),
    )


def _key_numbers(metrics: Mapping[str, Any]) -> Iterator[KeyNumber]:
    if not metrics.get("count"):
        return
    names = {"map": "mAP", "f1_macro": "F1, macro", "f1_micro": "F1, micro"}
    for key, name in names.items():
        interval = metrics.get(f"{key}_interval")
        yield KeyNumber(name, percent(metrics[key]), _range(interval) if interval else "")
    yield KeyNumber("exact matches", percent(metrics["exact_match"]), "images with all labels right")


def _range(interval: Sequence[float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def _summary(metrics: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    known = [row for row in rows if row["ap"] is not None]
    if known:
        yield metric_texts.extremes(known, "ap", "The average precision")
    if metrics.get("count") and metrics["labels_per_image"] is not None:
        yield (
            f"An image has {metrics['labels_per_image']:.2f} labels on average, and {metrics['predicted_per_image']:.2f} are "
            "predicted."
        )
    if unfitted := [row["class"] for row in rows if not row["threshold_fitted"]]:
        yield f"No validation image has {', '.join(unfitted[:5])}: the threshold is 0.5 there ({count(len(unfitted))} classes)."


def _sections(files: RunFiles, found: Evaluated) -> Iterator[Section]:
    if found.labels is not None and len(found.labels.true):
        yield Section("classes", "Class by class", _classes(files.path, found.rows))
        yield Section("confused", "Confused labels", _confused(found.labels, found.class_names))
        yield Section("worst", "Highest losses", _worst(files.path, found, found.labels))
    run = shlex.quote(str(files.path))
    code = f"resnets predict {run} IMAGES\nresnets evaluate {run} DATA"
    if files.is_evaluation:
        code = "resnets predict MODEL IMAGES"
    yield Section("use", "Use it", ["Predict the labels of new images, or evaluate on other labeled ones:", Code(code)])


def _classes(run: Path, rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    text = (
        "AP is the average precision. An image gets a label where the probability reaches the threshold, which has the largest "
        "F1 on the validation images. Recall: the fraction of the images of a class that get the label. Precision: the fraction "
        "of the images with the predicted label that belong to the class."
    )
    columns = [
        Column("class"),
        Column("images", "number", count),
        Column("predicted", "number", count),
        Column("AP", "number", percent, bar=True),
        Column("threshold", "number", "{:.3f}".format),
        *(Column(name, "number", percent, bar=True) for name in ("precision", "recall", "F1")),
    ]
    keys = ("class", "support", "predicted", "ap", "threshold", "precision", "recall", "f1")
    right = "An image in which each label was found rightly, with the median logit, beside the heat map of the label"
    maps = report_figures.blocks(run, report_figures.OF_CLASSES, right)
    return [text, Table(columns, [[row[key] for key in keys] for row in rows]), *maps]


def _confused(labels: Labels, class_names: Sequence[str]) -> list[Block]:
    pairs = confused_labels.most_confused(labels.true, labels.predicted, class_names, MAX_PAIRS)
    if not pairs:
        return ["In no image a label was missed and another one added."]
    numbers = (Column("images", "number", count), Column("of", "number", count), Column("percent", "number", percent))
    columns = [Column("missed"), Column("added instead"), *numbers]
    text = "Labels that were missed in images where another label, which they do not have, was predicted:"
    return [text, Table(columns, [(*pair, pair.num_images / pair.total) for pair in pairs])]


def _worst(run: Path, found: Evaluated, labels: Labels) -> list[Block]:
    text = (
        "The images with the highest losses. Look for missing and wrong labels: correcting them is often the cheapest way to a "
        "better model."
    )
    figure = Figure(WORST, "Images with the highest losses, and their right, missed and added labels", photographs=True)
    columns = [Column("file", "code"), Column("true labels"), Column("predicted")]
    columns.append(Column("loss", "number", "{:.3f}".format))
    rows = [
        (found.samples[k].path, found.names(labels.true[k]), found.names(labels.predicted[k]), found.losses[k])
        for k in found.worst
    ]
    wrong = "The images with the highest losses, each beside the heat maps of the labels that were missed or added"
    maps = report_figures.blocks(run, report_figures.OF_MISTAKES, wrong)
    return [text, figure, *maps, Table(columns, rows, summary="Files")]
