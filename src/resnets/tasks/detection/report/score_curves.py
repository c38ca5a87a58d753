"""Figures over the score, at an IoU of 0.5: precision and recall (`precision_recall.png`), F1 (`f1.png`), and how many right and
wrong objects have which score (`score_histogram.png`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnets.report.figures import canvas, font_fallback
from resnets.report.figures.class_color import class_color
from resnets.report.number_formats import percent
from resnets.tasks.detection.metrics.average_precision import average_precisions, mean
from resnets.tasks.detection.metrics.score_threshold import ScoreCurve, score_curve
from resnets.tasks.detection.records import Records

WIDTH, HEIGHT = 1200, 800
_MAX_NAMED = 10  # classes with a color and a name; more of them are gray
_LETTERS = 22
_RECALLS = np.linspace(0, 1, 101)


def draw_precision_recall(records: Records, class_names: Sequence[str], out: Path) -> Path:
    """Draw, for each class with objects, the largest precision at each recall or a higher one, and the mean over the classes.

    The legend has the AP50 of the evaluation, in which objects with equal scores count one after the other.
    """
    with canvas.figure(out, WIDTH, HEIGHT, "Precision and recall at every threshold") as page:
        plot_precision_recall(page.subplots(), records, class_names)
    return out


def plot_precision_recall(axes: Any, records: Records, class_names: Sequence[str]) -> None:
    labels = np.unique(records.truth.labels[~records.truth.crowd]).tolist()
    curves = [_envelope(records, label) for label in labels]
    precisions = average_precisions(records, len(class_names))[:, :1]
    for label, curve in zip(labels, curves, strict=True):
        axes.plot(_RECALLS, curve, **_style(label, len(labels), class_names, percent(float(precisions[label, 0]))))
    if curves:
        text = f"mean of {len(labels)} classes: AP50 {percent(float(mean(precisions)))}"
        axes.plot(_RECALLS, np.mean(curves, axis=0), color=canvas.TEXT, linewidth=3, label=text)
    axes.set(
        xlabel="recall: part of the objects that are found",
        ylabel="precision: part of what is reported that is right",
    )
    _finish(axes)


def draw_f1(records: Records, class_names: Sequence[str], threshold: float, out: Path) -> Path:
    """Draw the F1 of all objects, and of each class, over the threshold, and mark the one that is used."""
    with canvas.figure(out, WIDTH, HEIGHT, "F1 at every threshold") as page:
        plot_f1(page.subplots(), records, class_names, threshold)
    return out


def plot_f1(axes: Any, records: Records, class_names: Sequence[str], threshold: float) -> None:
    labels = np.unique(records.truth.labels[~records.truth.crowd]).tolist()
    for label in labels:
        axes.plot(*_f1_steps(score_curve(records, label)), **_style(label, len(labels), class_names))
    axes.plot(*_f1_steps(score_curve(records)), color=canvas.TEXT, linewidth=3, label="all objects")
    axes.axvline(threshold, color=canvas.VALIDATION, linestyle=(0, (4, 3)), label=f"threshold used: {threshold:.2f}")
    axes.set(xlabel="threshold: objects with at least this score are reported", ylabel="F1")
    _finish(axes)


def draw_histogram(records: Records, threshold: float, out: Path) -> Path:
    """Draw the numbers of right and of wrong objects by their scores; what is in a crowd is neither."""
    hits, ignored = records.matches.at(0)
    edges = np.linspace(0, 1, 41)
    with canvas.figure(out, WIDTH, HEIGHT, "Scores of right and of wrong objects") as page:
        axes = page.subplots()
        for name, chosen, color in (("right", hits, canvas.RIGHT), ("wrong", ~hits & ~ignored, canvas.WRONG)):
            counts = np.histogram(records.found.scores[chosen], edges)[0]
            axes.stairs(counts, edges, color=color, linewidth=2.5, label=f"{name}: {counts.sum():,}")
            axes.stairs(counts, edges, color=color, alpha=0.15, fill=True)
        axes.axvline(threshold, color=canvas.TEXT, linestyle=(0, (4, 3)), label=f"threshold used: {threshold:.2f}")
        axes.set(xlim=(0, 1), xlabel="score", ylabel="objects")
        # Most wrong ones have low scores.
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="upper right", fontsize=10)
    return out


def _f1_steps(curve: ScoreCurve) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the line: what is reported at a score stays the same down to the next lower one."""
    return np.append(curve.scores, 0.0).repeat(2)[1:-1], curve.f1.repeat(2)


def _envelope(records: Records, label: int) -> np.ndarray:
    """float64 (101,): the largest precision at each recall or a higher one."""
    curve = score_curve(records, label)
    precision = np.append(np.nan_to_num(curve.precision), 0.0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return best[np.searchsorted(curve.recall, _RECALLS, side="left")]


def _style(label: int, num_classes: int, class_names: Sequence[str], note: str = "") -> dict[str, Any]:
    if num_classes > _MAX_NAMED:
        return {"color": canvas.GRID, "linewidth": 1}
    name = font_fallback.shortened(class_names[label], _LETTERS)
    color = tuple(value / 255 for value in class_color(label))
    return {"color": color, "linewidth": 1.5, "label": f"{name}: {note}" if note else name}


def _finish(axes: Any) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), prop={"family": font_fallback.families(), "size": 10}
        )
