"""Bars: what each type of error costs (`error_types.png`), and which sizes of objects are found (`recall_by_size.png`)."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from resnets.report.figures import canvas
from resnets.report.number_formats import count, percent
from resnets.tasks.detection.metrics.confusion import SIDES
from resnets.tasks.detection.metrics.error_types import ErrorTypes

WIDTH, HEIGHT = 1200, 600
MEANINGS = {
    "class": "wrong class, right place",
    "location": "right class, place not exact",
    "both": "wrong class, place not exact",
    "duplicate": "found a second time",
    "background": "nothing is there",
    "missed": "not found",
}


def draw_error_types(errors: ErrorTypes, out: Path) -> Path:
    """Draw the gain of AP50 if the errors of a type were corrected, the largest first."""
    names = sorted(errors.gains, key=lambda name: errors.gains[name])
    heading = "What it would gain to correct each type of error"
    with canvas.figure(out, WIDTH, HEIGHT, heading) as page:
        axes = page.subplots()
        gains = [100 * max(errors.gains[name], 0.0) for name in names]
        axes.barh(range(len(names)), gains, color=canvas.WRONG, height=0.62)
        axes.set_yticks(range(len(names)), [f"{name}: {MEANINGS[name]}" for name in names], color=canvas.TEXT)
        for place, (name, gain) in enumerate(zip(names, gains, strict=True)):
            axes.annotate(
                f"+{gain:.1f} points; {count(errors.counts[name])} errors", (gain, place), (6, 0), va="center",
                textcoords="offset points",
            )  # fmt: skip
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.set_xlim(0, 1.3 * max(*gains, 0.1))
        axes.set_xlabel("gain of AP50 in points")
    return out


def size_names() -> list[str]:
    """The ranges of `SIDES` in words."""
    return [
        f"below {SIDES[1]} px",
        *(f"{low} to {high} px" for low, high in pairwise(SIDES[1:])),
        f"from {SIDES[-1]} px",
    ]


def draw_recall_by_size(counts: Sequence[tuple[int, int]], out: Path) -> Path:
    """Draw the part of the objects of each size that are found, from `recall_by_size`; sizes without objects stay empty."""
    with canvas.figure(out, WIDTH, HEIGHT, "Objects found, by their size") as page:
        axes = page.subplots()
        recalls = [100 * found / total if total else 0.0 for total, found in counts]
        axes.bar(range(len(counts)), [100.0 if total else 0.0 for total, _ in counts], color=canvas.LIGHT, width=0.72)
        axes.bar(range(len(counts)), recalls, color=canvas.RIGHT, width=0.72)
        for place, ((total, found), recall) in enumerate(zip(counts, recalls, strict=True)):
            text = f"{percent(found / total, 0)}\n{count(found)} of {count(total)}" if total else "no objects"
            inside = recall > 20
            axes.annotate(
                text, (place, recall), (0, -6 if inside else 6), ha="center", va="top" if inside else "bottom",
                color="white" if inside else canvas.TEXT, textcoords="offset points",
            )  # fmt: skip
        axes.set_xticks(range(len(counts)), size_names(), color=canvas.TEXT)
        axes.set(
            ylim=(0, 104),
            ylabel="found, %",
            xlabel="side of a square of the area of the object, in pixels of the image",
        )
    return out
