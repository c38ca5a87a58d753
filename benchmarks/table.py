"""The results as a table for a terminal and as a picture for the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import RESULTS


def found() -> list[dict[str, Any]]:
    """Every result that lies in benchmarks/results, in the order of the jobs' names."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def rows() -> list[tuple[str, str, float, float | None]]:
    """Job, peer, ours divided by the peer's, and the ratio that was wanted."""
    return [
        (result["title"], peer, ratio["measured"], ratio["wanted"])
        for result in found()
        for peer, ratio in result["ratios"].items()
    ]


def text() -> str:
    """One line a comparison."""
    lines = [f"{'job':66} {'against':32} {'measured':>9} {'wanted':>7}"]
    for title, peer, measured, wanted in rows():
        lines.append(f"{title:66} {peer:32} {measured:8.2f}x {f'{wanted:.2f}x' if wanted else '':>7}")
    return "\n".join(lines)


def draw(out: Path) -> None:
    """Bars of the ratios, on a logarithmic axis, with a mark where each was wanted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows() if row[3]][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 0.6 * len(measured) + 1.2))
    axes.barh(range(len(measured)), [row[2] for row in measured], color="#2563a8", height=0.6)
    for place, (_, _, ratio, wanted) in enumerate(measured):
        axes.plot([wanted, wanted], [place - 0.38, place + 0.38], color="#c2410c", linewidth=2)
        axes.text(ratio * 1.04, place, f"{ratio:.2g}x", va="center")
    axes.set_yticks(range(len(measured)), [f"{title}\nagainst {peer}" for title, peer, *_ in measured], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="#555555", linewidth=0.8)
    axes.set_xlabel("times as fast; the mark: what was aimed at")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    pyplot.close(figure)
