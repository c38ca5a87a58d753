"""Predict image files: print lines, write tables, or copy the images into a folder for each class."""

import collections
import contextlib
import csv as csv_module
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from resnets import atomic_write
from resnets.data.datasets.dataset import UnusedFiles
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize, printable
from resnets.progress import log, progress_bar
from resnets.tasks import load_model
from resnets.tasks.base import Task
from resnets.tasks.inputs import image_paths, predict_options, unread_images
from resnets.tasks.outputs import copy_by_class, keep_apart
from resnets.tasks.predict_parts.predict_parts import predict_parts

STDOUT = "-"

Sink = Callable[[Any], object]


def predict_files(
    checkpoint: str,
    paths: Sequence[str],
    *,
    ensemble: Sequence[str] = (),
    csv: str | None = None,
    jsonl: str | None = None,
    sort_into: str | None = None,
    parquet: str | None = None,
    resume: bool = False,
    shard: str | None = None,
    ray: str | None = None,
    top_k: int | None = None,
    score: float | None = None,
    agnostic_nms: float | None = None,
    nms: str | None = None,
    scales: Sequence[int] | None = None,
    flip: bool | None = None,
    tile: int | None = None,
    tile_overlap: float | None = None,
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    **outputs: str | None,
) -> None:
    """Predict the images at `paths` (files, folders, patterns, or "-" for a list on stdin).

    Predictions are printed to stdout as lines, unless they are written to a table or the images are copied into folders.

    Args:
        ensemble: further checkpoints, whose predictions are combined with those of the first.
        parquet, resume, shard, ray: see `resnets.predict_to_parquet`.
        top_k, score, agnostic_nms, nms, scales, flip, tile, tile_overlap: options of tasks; see their `check_options`.
        outputs: files or folders for what the task writes, by the names of its `writers`, such as `draw` for detection.

    Raises:
        UserError: there is no such checkpoint, no image at all, a number is out of range, or an output cannot be written.
        JobError: the disk is full; or, after all is done, some images or folders could not be read.
    """
    _check_tables(csv, jsonl, sort_into, top_k)
    given = {
        "top_k": top_k, "score": score, "agnostic_nms": agnostic_nms, "nms": nms, "scales": scales, "flip": flip, "tile": tile,
        "tile_overlap": tile_overlap, "heatmap": True if outputs.get("heatmap") is not None else None,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    written = {name: path for name, path in outputs.items() if path is not None}
    _check_parts(
        parquet,
        {"resume": resume, "shard": shard, "ray": ray},
        {"csv": csv, "jsonl": jsonl, "sort_into": sort_into, **written},
    )
    if parquet is not None:
        predict_parts(
            checkpoint, paths, parquet, resume=resume, shard=shard, ray=ray, ensemble=ensemble, batch=batch, workers=workers,
            device=device, backend=backend, precision=precision, options=options,
        ).check_all_read()  # fmt: skip
        return
    model, *others = (
        load_model.load(each, device, backend=backend, precision=precision) for each in (checkpoint, *ensemble)
    )
    predict_options.check_top_k(top_k, model.class_names, checkpoint)
    model.task.check_options(options)
    _check_task(model.task, checkpoint, written, sort_into)
    unused = UnusedFiles()
    images = image_paths.find_images(paths, sys.stdin, unused)
    for name, folder in {"sort_into": sort_into, **written}.items():
        if folder and not Path(folder).suffix:
            collections.deque(keep_apart.checked(name, folder, paths, images), maxlen=0)
    for line in model.task.describe_options(options, 1 + len(others)):
        log(line)
    predictions = model.stream(images, batch=batch, workers=workers, ensemble=others, **options)
    to_stdout = STDOUT in (csv, jsonl) or not (csv or jsonl or sort_into or written)
    counts: collections.Counter[str] = collections.Counter()
    classes: collections.Counter[str] = collections.Counter()
    bad: list[Any] = []
    start = time.monotonic()
    # The progress bar replaces `sys.stdout`, so the sinks get the real one before.
    with contextlib.ExitStack() as stack:
        columns = model.task.csv_columns(**options)
        sinks = _sinks(stack, csv, jsonl, sort_into, columns)
        writers = [stack.enter_context(model.task.writers()[name](path)) for name, path in written.items()]
        if to_stdout and not sinks:
            sinks.append(partial(print, file=sys.stdout))
        if not (to_stdout and sys.stdout.isatty()):
            predictions = progress_bar(predictions, description="predicting", total=len(images), unit="images")
        for prediction in predictions:
            if prediction.error is not None:
                bad.append(prediction)
            else:
                counts.update(model.task.count(prediction))
                if sort_into:
                    classes[prediction.label] += 1
            for sink in sinks + (writers if prediction.error is None else []):
                sink(prediction)
    found = "".join(f", {pluralize(count, noun)}" for noun, count in counts.items())
    paths = [path for path in (csv, jsonl, *written.values()) if path not in (None, "", STDOUT)]
    where = f"; written: {format_list(paths)}" if paths else ""
    log(f"{pluralize(len(images), 'image')}{found} in {time.monotonic() - start:.1f} s{where}")
    if sort_into:
        _log_sorted(classes, bad, sort_into)
    unread_images.raise_for([prediction.path for prediction in bad], len(images), unused.inaccessible)


def _check_tables(csv: str | None, jsonl: str | None, sort_into: str | None, top_k: int | None) -> None:
    """Raise UserError for outputs that do not fit each other or cannot be written to, before the model is loaded."""
    if csv == jsonl == STDOUT:
        raise UserError("`csv=-` and `jsonl=-` both write to stdout; give one of them a file.")
    if top_k is not None and sort_into and not (csv or jsonl):
        raise UserError(f"`top_k={top_k}` has no effect with `sort_into` alone: write a table with `csv` or `jsonl`.")
    for table in (csv, jsonl):
        if table not in (None, "", STDOUT):
            atomic_write.check_file_writable(table)
    if sort_into:
        atomic_write.check_folder_writable(sort_into)


def _check_parts(parquet: str | None, others: Mapping[str, Any], outputs: Mapping[str, str | None]) -> None:
    """Raise UserError for arguments of `parquet` without it, and for other outputs beside it."""
    for name, value in others.items():
        if parquet is None and value not in (None, False):
            raise UserError(f"`{name}` has no effect without `parquet`, the folder for the parts.")
    for name, path in outputs.items():
        if parquet is not None and path is not None:
            raise UserError(f"`{name}={path}` cannot be written beside `parquet={parquet}`: run the command twice.")


def _check_task(task: Task, checkpoint: str, written: Mapping[str, str], sort_into: str | None) -> None:
    """Raise UserError for outputs that the task does not give."""
    for name in written:
        if written[name] == STDOUT:
            raise UserError(f"`{name}=-`: only `csv` and `jsonl` are written to stdout. Name a file or a folder.")
        if name not in task.writers():
            known = ", ".join(f"`{each}`" for each in task.writers())
            hint = f" Leave it out; it writes {known}." if known else " Leave it out."
            raise UserError(f"The model '{checkpoint}' ({task.name}) gives nothing for `{name}`.{hint}")
    if sort_into and not task.has_single_class:
        raise UserError(f"`sort_into` needs one class for each image, which the task {task.name} does not give.")


def _sinks(
    stack: contextlib.ExitStack, csv: str | None, jsonl: str | None, sort_into: str | None, columns: Sequence[str]
) -> list[Sink]:
    """What to do with each prediction."""
    sinks: list[Sink] = []
    if csv:
        table = csv_module.DictWriter(stack.enter_context(_opened(csv, sys.stdout)), columns, lineterminator="\n")
        table.writeheader()
        sinks.append(lambda prediction: table.writerow(prediction.to_row()))
    if jsonl:
        file = stack.enter_context(_opened(jsonl, sys.stdout))
        sinks.append(lambda prediction: print(json.dumps(prediction.to_dict()), file=file))
    if sort_into:
        folder = Path(sort_into)
        folder.mkdir(parents=True, exist_ok=True)
        sinks.append(
            lambda prediction: (
                prediction.error is not None or copy_by_class.copy(prediction.path, prediction.label, folder)
            )
        )
    return sinks


@contextlib.contextmanager
def _opened(path: str, stdout: TextIO) -> Iterator[TextIO]:
    """Open a text file that appears whole at the end, a pipe that gets each line at once, or stdout."""
    if path == STDOUT:
        yield stdout
        return
    with atomic_write.open_text(path) as file:
        yield file


def _log_sorted(counts: collections.Counter[str], bad: Sequence[Any], folder: str) -> None:
    for prediction in bad:
        log(f"not sorted: '{prediction.path}' {prediction.error}")
    shown = ", ".join(f"{printable(label)} {number:,}" for label, number in counts.most_common(10))
    more = f" and {len(counts) - 10} more classes" if len(counts) > 10 else ""
    left = f"; {pluralize(len(bad), 'image')} not sorted, listed above" if bad else ""
    log(f"sorted into '{folder}': {shown or 'none'}{more}{left}")
