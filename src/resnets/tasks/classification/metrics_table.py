"""Tables of an evaluation for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from resnets.message_format import printable
from resnets.tasks.classification.evaluate import Evaluation
from resnets.weights.local_file import BEST

MAX_CLASSES = 40  # rows on a terminal; of more classes, those with the lowest recall
PLAIN_WIDTH = 120  # characters, where stdout is no terminal


def show(evaluation: Evaluation) -> None:
    """Print the results to stdout: the metrics of all images, then class by class, then which of two models is better."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
    names = _names(evaluation)
    results = [model.results() for model in evaluation.models]
    console.print(_heading(results[0]["metrics"], evaluation, names))
    for notice in evaluation.notices:
        console.print(Text(printable(f"Note: {notice}.")))
    first = evaluation.models[0].predictions
    console.print(f"computed in {first.precision} by the backend {first.backend}")
    console.print(_summary_table([each["metrics"] for each in results], names))
    if evaluation.comparison is None:
        _show_classes(console, results[0]["per_class"])
    else:
        console.print(evaluation.comparison.in_words(*names))


def _names(evaluation: Evaluation) -> list[str]:
    """Short but different names of the models."""
    if evaluation.comparison is None:
        files = evaluation.models[0].checkpoints
        return [printable(files[0]) if len(files) == 1 else f"ensemble of {len(files)}"]
    whole = [model.checkpoints[0] for model in evaluation.models]
    short = [_short(Path(file)) for file in whole]
    return [printable(name) for name in (short if short[0] != short[1] else whole)]


def _short(file: Path) -> str:
    """The name of a file without its suffix or, in a run directory, of the run."""
    run = file.resolve().parent.parent
    if not (run / "recipe.toml").is_file() and file.parent.name != BEST.parent.name:
        return file.stem
    return run.name if file.name == BEST.name else f"{run.name}, {file.stem}"


def _summary_table(summaries: Sequence[dict[str, Any]], names: Sequence[str]) -> Table:
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(name, justify="left", overflow="fold")
    top = summaries[0]["top5_of"]
    rows = {
        "top-1": lambda each: _percent(each["top1"], each["top1_interval"]),
        f"top-{top}": lambda each: _percent(each["top5"], each["top5_interval"]),
        "precision, macro": lambda each: _percent(each["precision_macro"]),
        "recall, macro (balanced accuracy)": lambda each: _percent(each["recall_macro"]),
        "F1, macro": lambda each: _percent(each["f1_macro"]),
        "loss (cross-entropy)": lambda each: "–" if each["loss"] is None else f"{each['loss']:.4f}",
        "Brier score": lambda each: "–" if each["brier"] is None else f"{each['brier']:.4f}",
        f"calibration error ({summaries[0]['ece_bins']} bins)": lambda each: _percent(
            each["ece"], each["ece_interval"]
        ),
        "temperature": lambda each: f"{each['temperature']:.3f}",
    }
    if top == 1 or top == summaries[0]["num_classes"]:
        del rows[f"top-{top}"]  # with so few classes it is always 100 %
    for name, cell in rows.items():
        table.add_row(name, *[cell(each) for each in summaries])
    return table


def _heading(summary: dict[str, Any], evaluation: Evaluation, names: Sequence[str]) -> Text:
    protocols = [model.protocol for model in evaluation.models]
    how = evaluation.protocol
    if len(set(protocols)) > 1:
        how = "; ".join(f"{name}: {protocol}" for name, protocol in zip(names, protocols, strict=True))
    text = f"{summary['count']:,} images of {summary['num_classes_with_images']} classes, {how}"
    for key, words in (("unlabeled", "without a label"), ("skipped", "that cannot be read")):
        if summary[key]:
            text += f"; not counted: {summary[key]:,} {words}"
    return Text(f"{text}; 95 % intervals in brackets", style="bold")


def _show_classes(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    shown = [row for row in rows if row["support"] or row["predicted"]]
    title = "Class by class"
    if len(shown) > MAX_CLASSES:
        title = f"The {MAX_CLASSES} of {len(shown)} classes with the lowest recall (all of them: --out, --json)"
        shown = sorted(shown, key=lambda row: (row["recall"] is None, row["recall"] or 0))[:MAX_CLASSES]
    console.print(Text(f"\n{title}", style="bold"))
    table = Table(box=None)
    table.add_column("class", overflow="fold")
    for name in ("images", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for row in shown:
        recall = _percent(row["recall"], (row["recall_low"], row["recall_high"]))
        label = Text(printable(row["class"]))
        table.add_row(label, f"{row['support']:,}", _percent(row["precision"]), recall, _percent(row["f1"]))
    console.print(table)


def _percent(value: float | None, interval: Sequence[float | None] | None = None) -> str:
    """`93.1 %`, or `93.1 % [91.0, 94.8]`."""
    if value is None:
        return "–"
    text = f"{100 * value:.1f} %"
    if interval is None or None in interval:
        return text
    low, high = (100 * (end or 0.0) for end in interval)
    return f"{text} [{low:.1f}, {high:.1f}]"
