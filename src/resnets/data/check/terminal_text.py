"""Print the result of a check to a terminal."""

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.text import Text

from resnets import progress
from resnets.data.check.check import CheckReport
from resnets.data.check.problem_kinds import Finding, Problem
from resnets.data.datasets.dataset import relative_path
from resnets.message_format import format_bytes, num_shown, pluralize, printable

SHOWN_CASES = 3  # of a kind of problem
SHOWN_DUPLICATES = 4  # of one image
SHOWN_CLASSES = 20
BAR = 24  # characters of the longest bar
COLORS = {"error": "red", "warning": "yellow", "note": "blue"}
INDENT = 16  # where the titles of problems begin


def show(report: CheckReport, file: TextIO) -> None:
    """Print the classes, the problems with some cases of each, and the summary. Long lines are not wrapped."""
    console = Console(file=file, highlight=False, soft_wrap=True)
    console.print(Text(_heading(report), style="bold"))
    for lines in (_class_lines(report), *map(_problem_lines, [report.root] * len(report.problems), report.problems)):
        console.print()
        for line in lines:
            console.print(line)
    console.print()
    console.print(Text(report.summary, style="bold red" if report.has_errors else "bold green"))


def _heading(report: CheckReport) -> str:
    classes = f"{len(report.class_counts):,} class{'' if len(report.class_counts) == 1 else 'es'}"
    return f"{printable(report.root)}: {pluralize(report.images, 'image')} in {classes}, {format_bytes(report.bytes)}"


def _class_lines(report: CheckReport) -> Iterator[Text]:
    classes = {printable(name): counts for name, counts in report.class_counts.items()}
    totals = {name: sum(counts.values()) for name, counts in classes.items()}
    names = list(totals)
    omitted = len(names) - num_shown(len(names), SHOWN_CLASSES)
    if omitted:  # the largest and the smallest are more informative than the first ones
        ranked = sorted(names, key=lambda name: -totals[name])
        names = ranked[: SHOWN_CLASSES // 2] + ranked[-SHOWN_CLASSES // 2 :]
    width = max((len(name) for name in names), default=0)
    for index, name in enumerate(names):
        if omitted and index == SHOWN_CLASSES // 2:
            yield Text(f"  … {omitted:,} more …", style="dim")
        splits = classes[name]
        counts = (
            "" if list(splits) == [""] else "  " + "  ".join(f"{split} {count:,}" for split, count in splits.items())
        )
        bar = "▇" * round(BAR * totals[name] / max(max(totals.values()), 1))
        bar = f"{bar:<{BAR}}" if counts else bar
        yield Text.assemble(f"  {name:<{width}}  {totals[name]:>7,}  ", (bar, "cyan"), (counts, "dim"))


def _problem_lines(root: str, problem: Problem) -> Iterator[Text]:
    label = (f"{problem.level:<8}", f"bold {COLORS[problem.level]}")
    yield Text.assemble(label, f"{len(problem.findings):>6,}  ", (problem.title, "bold"))
    yield Text(" " * INDENT + progress.format_message(problem.advice), style="dim")
    shown = num_shown(len(problem.findings), SHOWN_CASES)
    for finding in problem.findings[:shown]:
        yield Text(" " * INDENT + _finding_text(root, finding))
    if len(problem.findings) > shown:
        more = f"and {len(problem.findings) - shown:,} more: `html` and `json` have all"
        yield Text(" " * INDENT + progress.format_message(more), style="dim")


def _finding_text(root: str, finding: Finding) -> str:
    shown = num_shown(len(finding.paths), SHOWN_DUPLICATES)
    paths = " = ".join(relative_path(root, path) for path in finding.paths[:shown])
    if len(finding.paths) > shown:
        paths += f" = {len(finding.paths) - shown:,} more"
    if finding.object:
        paths += f", object {finding.object}"
    return printable(f"{paths}: {finding.note}" if paths and finding.note else paths or finding.note)
