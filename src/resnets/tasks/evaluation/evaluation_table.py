"""The results of an evaluation as tables for the terminal."""

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from resnets.message_format import printable
from resnets.tasks.evaluation.results import Evaluation
from resnets.weights.local_file import BEST

PLAIN_WIDTH = 120  # characters, where stdout is no terminal


def show(evaluation: Evaluation) -> None:
    """Print the results to stdout: the metrics of all images, then class by class, then which of two models is better."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
    names, first = _names(evaluation), evaluation.models[0]
    console.print(_heading(evaluation, names))
    for notice in evaluation.notices:
        console.print(Text(printable(f"Note: {notice}.")))
    computed = first.measured.computed
    console.print(f"computed in {computed['precision']} by the backend {computed['backend']}")
    console.print(first.task.tables([model.metrics for model in evaluation.models], names))
    if evaluation.comparison is not None:
        console.print(evaluation.comparison.in_words(*names))
    elif (classes := first.task.class_table(first.results())) is not None:
        console.print(Text(f"\n{classes[0]}", style="bold"))
        console.print(classes[1])


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


def _heading(evaluation: Evaluation, names: list[str]) -> Text:
    summary = evaluation.metrics
    protocols = [model.measured.protocol for model in evaluation.models]
    how = evaluation.protocol
    if len(set(protocols)) > 1:
        how = "; ".join(f"{name}: {protocol}" for name, protocol in zip(names, protocols, strict=True))
    classes = f" of {summary['num_classes_with_images']} classes" if "num_classes_with_images" in summary else ""
    text = f"{summary['count']:,} images{classes}, {how}"
    for key, words in (("unlabeled", "without a label"), ("skipped", "that cannot be read")):
        if summary[key]:
            text += f"; not counted: {summary[key]:,} {words}"
    return Text(f"{text}; 95 % intervals in brackets", style="bold")
