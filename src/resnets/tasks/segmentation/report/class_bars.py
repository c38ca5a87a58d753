"""The IoU of each class with its interval, and its part of the pixels (`class_iou.png`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.report.figures import canvas, font_fallback
from resnets.report.figures.class_color import Color
from resnets.report.number_formats import percent

WIDTH, MIN_HEIGHT, ROW = 1200, 360, 46  # pixels
MAX_CLASSES = 60
_LETTERS = 24


def draw(rows: Sequence[Mapping[str, Any]], colors: Sequence[Color], out: Path) -> Path:
    """Draw a bar for each class with a value, the best first; with more than 60 classes, the worst ones.

    Args:
        rows: of `summarize.class_rows`, at least one with an "iou".
        colors: of the classes, which the masks of other figures have.
    """
    known = [(row, color) for row, color in zip(rows, colors, strict=True) if row["iou"] is not None]
    known.sort(key=lambda each: each[0]["iou"])
    heading = "IoU of each class, and its part of the pixels"
    if len(known) > MAX_CLASSES:
        heading = f"IoU of the {MAX_CLASSES} worst of {len(known)} classes, and their part of the pixels"
    known = known[:MAX_CLASSES]
    with canvas.figure(out, WIDTH, max(ROW * len(known) + 150, MIN_HEIGHT), heading) as page:
        axes = page.subplots()
        for place, (row, color) in enumerate(known):
            value = 100 * row["iou"]
            axes.barh(place, value, color=[part / 255 for part in color], edgecolor=canvas.MUTED, height=0.68)
            end = value
            if row["iou_low"] is not None:
                low, high = 100 * row["iou_low"], 100 * row["iou_high"]
                axes.plot([low, high], [place, place], color=canvas.TEXT, marker="|", linewidth=1.3)
                end = max(high, value)
            text = f"{value:.1f} %; {percent(row['share'])} of the pixels"
            axes.annotate(text, (end, place), (8, 0), va="center", textcoords="offset points", color=canvas.TEXT)
        names = [font_fallback.shortened(row["class"], _LETTERS) for row, _ in known]
        axes.set_yticks(range(len(known)), names, color=canvas.TEXT, fontfamily=font_fallback.families())
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x")
        axes.set(xlim=(0, 135), xticks=range(0, 101, 20), xlabel="IoU, %")
    return out
