"""The figure of the study `lesion`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.report.figures import canvas
from resnets.studies.measurements.lesion_variants import DELETED, DRAWS, REORDERED, SINGLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The error without each block, without several, and by the order of the blocks, as figures 3, 5a and 5b of the paper."""
    panels = page.subplot_mosaic([[SINGLE, SINGLE], [DELETED, REORDERED]])
    blocks = sorted({row["blocks"] for row in rows if row["kind"] == SINGLE}, key=_numbers)
    for number, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own, color = [row for row in rows if row["network"] == name], f"C{number}"
        _draw_single(panels[SINGLE], blocks, [row for row in own if row["kind"] == SINGLE], name, color)
        for kind, key in ((DELETED, "count"), (REORDERED, "tau")):
            for row in own:
                if row["kind"] == kind:
                    panels[kind].plot(row[key], _error(row), "o", color=color, alpha=0.5, markersize=4)
        counts = sorted({row["count"] for row in own if row["kind"] == DELETED})
        means = [np.mean([_error(row) for row in own if (row["kind"], row["count"]) == (DELETED, k)]) for k in counts]
        panels[DELETED].plot(counts, means, color=color)
    panels[SINGLE].set_xlabel("deleted block, as stage.block (hollow: changes the shape; dashed: nothing deleted)")
    panels[DELETED].set_xlabel(f"number of deleted blocks, {DRAWS} draws")
    panels[REORDERED].set_xlabel("Kendall's tau of the order of the blocks")
    panels[REORDERED].invert_xaxis()
    for axes in panels.values():
        axes.set_title("error in percent", color=canvas.MUTED, fontweight="normal")
        axes.set_ylim(0, 100)
    canvas.legend(panels[SINGLE])


def _error(row: Mapping[str, Any]) -> float:
    return float(row["base_error"] + row["added_error"])


def _numbers(block: str) -> list[int]:
    """Those of the stage and the block in a name such as "stage1.block2"."""
    return [int(each) for each in re.findall(r"\d+", block)]


def _draw_single(axes: Axes, blocks: Sequence[str], rows: Sequence[Mapping[str, Any]], name: str, color: str) -> None:
    places = [blocks.index(row["blocks"]) for row in rows]
    axes.plot(places, [_error(row) for row in rows], color=color, linewidth=0.8, label=name)
    for place, row in zip(places, rows, strict=True):
        axes.plot(place, _error(row), "o", color=color, markerfacecolor=color if row["keeps_shape"] else "white")
    axes.axhline(rows[0]["base_error"], color=color, linestyle="--", linewidth=0.8)
    shown = range(0, len(blocks), 1 + len(blocks) // 20)
    axes.set_xticks(shown, [".".join(map(str, _numbers(blocks[index]))) for index in shown])
