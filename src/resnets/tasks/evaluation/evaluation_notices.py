"""Sentences to read before the results of an evaluation: which of the images a model was trained on, or selected by.

Whether and how many a model was trained on is said by `data/split/lineage.py`, in training as well.
"""

from collections.abc import Sequence
from pathlib import Path

from resnets.data.split.lineage import Lineage
from resnets.tasks.base import Task
from resnets.tasks.evaluation import evaluation_split
from resnets.tasks.evaluation.evaluation_split import EvaluationSplit


def describe_selection(task: Task, images: str = "these images") -> str:
    """Say that `images` were used to select the epoch of a model, and what was fitted to them."""
    return f"{images} were used to select {task.selected}"


def training_notices(models: Sequence[tuple[str, Lineage]], split: EvaluationSplit) -> list[str]:
    """A sentence for each model that was trained on some of the images, or of which that is not known."""
    plain = split.name in (evaluation_split.ALL, evaluation_split.NOT_TRAINED_ON)
    images = "images" if plain else f"'{split.name}' images"
    notices = [past.seen_message(split.samples, images, f"'{name}'") for name, past in models]
    return [notice for notice in notices if notice]


def in_sample_notices(
    task: Task, files: Sequence[Path], selected: Sequence[int], split: EvaluationSplit, calibrate: bool
) -> list[str]:
    """A sentence for each model whose epoch or temperature was selected on some of the images."""
    total, notices = len(split.samples), []
    for file, count in zip(files, selected, strict=True):
        which = "these images" if count == total else f"{count:,} of these {total:,} images"
        if count:
            notices.append(
                f"{describe_selection(task, which)} of '{file}'; its metrics are in-sample: expect lower accuracy on other images"
            )
    if calibrate and not notices:
        notices.append(f"'{files[0]}' is fitted to these images: expect a worse result on other images")
    return notices
