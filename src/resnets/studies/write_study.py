"""The files of a study: its values, report, results and figure."""

from __future__ import annotations

import json

from resnets import atomic_write
from resnets.progress import log
from resnets.report.figures import canvas
from resnets.studies.study_result import StudyResult
from resnets.studies.verdict import UNDECIDED

_WIDTH, _HEIGHT = 1500, 900  # pixels of the figure


def write(result: StudyResult) -> None:
    """Write them into `result.folder`; the figure comes last, so that an error in it loses no verdict."""
    folder, rows = result.folder, result.measurement.rows
    atomic_write.write_csv(folder / "values.csv", rows)
    words = list(dict.fromkeys(each.word for each in result.verdicts.values())) or [UNDECIDED]
    heading = f"{result.study.name}: {', '.join(words)} (protocol {result.protocol})"
    atomic_write.write_text(folder / "report.md", _report(result))
    atomic_write.write_text(folder / "results.json", json.dumps(result.to_dict(), indent=2) + "\n")
    with canvas.figure(folder / "figure.png", _WIDTH, _HEIGHT, heading) as page:
        result.study.draw(rows, page)
    log(f"written: {folder}")


def _report(result: StudyResult) -> str:
    study = result.study
    lines = [f"# {study.name}", "", f"Claim: {study.claim}", "", f"{study.paper}: {study.published}", ""]
    lines += [f"Statistic, for each {study.unit}: {study.statistic}", ""]
    claimed = f"claimed: {study.rule.direction} than {study.rule.bound:g}"
    lines += [f"| subject | {claimed}; measured, with interval | level | n | verdict |", "|---|---|---|---|---|"]
    for subject, each in result.verdicts.items():
        effect, low, high, count = each.interval
        reason = f" ({each.reason})" if each.reason else ""
        level = f"{100 * each.confidence:.4g} %"
        lines.append(f"| {subject} | {effect:.4g} [{low:.4g}, {high:.4g}] | {level} | {count} | {each.word}{reason} |")
    lines += ["", f"Control: {study.control}"]
    lines += [
        f"- {each.name}: {each.found}; {'held' if each.holds else 'failed'}" for each in result.measurement.controls
    ]
    lines += ["", *result.measurement.notes] if result.measurement.notes else []
    lines += [
        "",
        f"Protocol {result.protocol}; `study.toml` was written before the measurement.",
        "",
        "![](figure.png)",
    ]
    return "\n".join(lines) + "\n"
