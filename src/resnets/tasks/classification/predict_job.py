"""From the words of `resnets predict` to lines, tables and sorted folders."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from resnets import atomic_write
from resnets.data.datasets.dataset import UnusedFiles
from resnets.errors import JobError, UserError, format_list, pluralize, printable
from resnets.progress import log, progress_bar
from resnets.tasks.classification import copy_by_class, load
from resnets.tasks.classification.prediction import Prediction
from resnets.tasks.classification.prediction_rows import CsvRows, JsonRows
from resnets.tasks.inputs import image_paths

TOP_K = 5
STDOUT = "-"

Sink = Callable[[Prediction], object]


def run(
    checkpoint: str,
    words: Sequence[str],
    *,
    csv: str | None = None,
    jsonl: str | None = None,
    sort_into: str | None = None,
    top_k: int | None = None,
    batch: int = 32,
    workers: int | None = None,
    device: str = "cpu",
    backend: str = "auto",
    precision: str = "auto",
) -> None:
    """Classify the images that `words` stand for.

    The answers are lines on stdout, unless they go into a table or sorted folders.

    Raises:
        UserError: there is no such checkpoint, no image at all, or a number is out of range.
        JobError: what was asked for cannot be written; or, after all is done, some images or folders could not be read.
    """
    if csv == jsonl == STDOUT:
        raise UserError("`csv=-` and `jsonl=-` both write to stdout; give one of them a file.")
    if top_k is not None and sort_into and not (csv or jsonl):
        raise UserError(f"`top_k={top_k}` has no effect with `sort_into` alone: write a table with `csv` or `jsonl`.")
    classifier = load.load(checkpoint, device=device, backend=backend, precision=precision)
    if top_k is not None and top_k > len(classifier.classes):
        raise UserError(f"`top_k={top_k}` is more than the {len(classifier.classes)} classes of '{checkpoint}'.")
    top_k = min(TOP_K, len(classifier.classes)) if top_k is None else top_k
    unused = UnusedFiles()
    found = image_paths.images(words, sys.stdin, unused)
    if sort_into:
        _check_apart(sort_into, words, found)
    answers = classifier.stream(found, top_k=top_k, batch=batch, workers=workers)
    to_stdout = STDOUT in (csv, jsonl) or not (csv or jsonl or sort_into)
    counts: Counter[str] = Counter()
    bad: list[Prediction] = []
    start = time.monotonic()
    # The progress bar puts itself in the place of `sys.stdout`, so the sinks are given the real one before.
    with contextlib.ExitStack() as stack:
        sinks = _sinks(stack, csv, jsonl, sort_into, top_k, sys.stdout)
        shown = answers if to_stdout and sys.stdout.isatty() else _tracked(answers, len(found))
        for answer in shown:
            if answer.label is None:
                bad.append(answer)
            else:
                counts[answer.label] += 1
            for sink in sinks:
                sink(answer)
    log(f"{len(found):,} image{'' if len(found) == 1 else 's'} in {time.monotonic() - start:.1f} s")
    if sort_into:
        _tell_sorted(counts, bad, sort_into)
    names = format_list([answer.path for answer in bad], 5)
    failed = [f"{len(bad):,} of {len(found):,} images could not be read: {names}"] if bad else []
    if closed := unused.inaccessible:
        reasons = ", ".join(sorted(set(closed.values())))
        failed.append(
            f"{pluralize(len(closed), 'folder')} could not be looked into ({reasons}): {format_list(list(closed), 5)}"
        )
    if failed:
        raise JobError(f"{'; '.join(failed)}.")


def _check_apart(sort_into: str, words: Sequence[str], found: Sequence[str]) -> None:
    """Raises UserError where the copies would come among the images that are read: labeled ones would be mixed with guesses."""
    out = Path(sort_into).resolve()
    sources = [Path(word).resolve() for word in words if Path(word).is_dir()]
    folders = {Path(folder).resolve() for folder in {os.path.dirname(path) for path in found}}
    if any(out.is_relative_to(each) for each in sources) or any(each.is_relative_to(out) for each in folders):
        raise UserError(
            f"`sort_into={sort_into}` would put copies among the images that are read. Choose a folder apart from them."
        )


def _sinks(
    stack: contextlib.ExitStack, csv: str | None, jsonl: str | None, sort_into: str | None, top_k: int, stdout: TextIO
) -> list[Sink]:
    """Where each answer goes."""
    sinks: list[Sink] = []
    if csv:
        sinks.append(CsvRows(stack.enter_context(_opened(csv, stdout)), top_k).write)
    if jsonl:
        sinks.append(JsonRows(stack.enter_context(_opened(jsonl, stdout))).write)
    if sort_into:
        folder = _folder(sort_into)
        sinks.append(lambda answer: answer.label is None or copy_by_class.copy(answer.path, answer.label, folder))
    return sinks or [lambda answer: print(answer, file=stdout)]


@contextlib.contextmanager
def _opened(path: str, stdout: TextIO) -> Iterator[TextIO]:
    """A text file that appears whole when all is written (a pipe gets each line as it comes), or stdout."""
    if path == STDOUT:
        yield stdout
        return
    with atomic_write.open_text(path) as file:
        yield file


def _folder(path: str) -> Path:
    """Made now, so that a place that cannot be written to is found before the work."""
    atomic_write.check_folder_writable(path)
    os.makedirs(path, exist_ok=True)
    return Path(path)


def _tracked(answers: Iterable[Prediction], total: int) -> Iterator[Prediction]:
    return progress_bar(answers, description="predicting", total=total, unit="images")


def _tell_sorted(counts: Counter[str], bad: Sequence[Prediction], folder: str) -> None:
    for answer in bad:
        log(f"not sorted: '{answer.path}' {answer.error}")
    shown = ", ".join(f"{printable(label)} {number:,}" for label, number in counts.most_common(10))
    more = f" and {len(counts) - 10} more classes" if len(counts) > 10 else ""
    left = f"; {pluralize(len(bad), 'image')} not sorted, listed above" if bad else ""
    log(f"sorted into '{folder}': {shown or 'none'}{more}{left}")
