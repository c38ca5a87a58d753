"""The results as a table for a terminal and as an image for the documentation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison: ours divided by the peer's, and the target ratio."""

    title: str
    peer: str
    measured: float
    target: float | None
    limit: bool  # the target is an upper bound

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.measured <= self.target if self.limit else self.measured >= self.target


def found(results: Path) -> list[dict[str, Any]]:
    """Return every result in the folder, in the order of the jobs' names."""
    return [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]


def rows(result: dict[str, Any]) -> list[Row]:
    """The comparisons of one job."""
    return [
        Row(result["title"], peer, ratio["measured"], ratio["target"], result["limit"])
        for peer, ratio in result["ratios"].items()
    ]


def text(results: Path) -> str:
    """One line a comparison; below a job, the difference of the accuracies and the contenders that were skipped."""
    lines = [f"{'job':70} {'against':32} {'measured':>9} {'target':>8}"]
    for result in found(results):
        for row in rows(result):
            target = f"{'≤ ' if row.limit else ''}{row.target:.2f}x" if row.target else ""
            verdict = {True: "reached", False: "NOT reached", None: ""}[row.reached]
            lines.append(f"{row.title:70} {row.peer:32} {row.measured:8.2f}x {target:>8} {verdict}".rstrip())
        lines += [
            f"  processor time: {ratio:.2f}x as much work a second as {peer}"
            for peer, ratio in result.get("cpu_ratios", {}).items()
        ]
        if result.get("first") and result["ours"] in result["median"]:
            fraction = result["first"]["rate"] / result["median"][result["ours"]]
            lines.append(f"  its first run, without cached files: {fraction:.2f} of that rate")
        lines += [f"  {_accuracy(result, peer)}" for peer in result["accuracy"] if peer != result["ours"]]
        lines += [f"  {name} failed: {why}" for name, why in result["failed"].items()]
        lines += [f"  {name} was skipped: {why}" for name, why in result["absent"].items()]
    return "\n".join(lines)


def _accuracy(result: dict[str, Any], peer: str) -> str:
    if result["ours"] not in result["accuracy"]:
        return f"accuracy: {peer} {result['accuracy'][peer]:.2%}; none of {result['ours']}"
    ours, theirs = result["accuracy"][result["ours"]], result["accuracy"][peer]
    apart = 100 * (ours - theirs)
    verdict = "" if result["points"] is None else f" ({'within' if abs(apart) <= result['points'] else 'NOT within'} "
    verdict += "" if result["points"] is None else f"{result['points']:g} as required)"
    return f"accuracy: {result['ours']} {ours:.2%}, {peer} {theirs:.2%}: {apart:+.2f} points{verdict}"


def draw(results: Path, out: Path) -> None:
    """Bars of the ratios, on a logarithmic axis, with a mark at each target. Memory is not drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [row for result in found(results) for row in rows(result) if not row.limit][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 0.6 * len(bars) + 1.2))
    axes.barh(range(len(bars)), [row.measured for row in bars], color="#2563a8", height=0.6)
    for position, row in enumerate(bars):
        if row.target:
            axes.plot([row.target, row.target], [position - 0.38, position + 0.38], color="#c2410c", linewidth=2)
        axes.text(row.measured * 1.04, position, f"{row.measured:.2g}x", va="center")
    axes.set_yticks(range(len(bars)), [f"{row.title}\nagainst {row.peer}" for row in bars], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="#555555", linewidth=0.8)
    axes.set_xlabel("times as fast; the mark is the target")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    pyplot.close(figure)
