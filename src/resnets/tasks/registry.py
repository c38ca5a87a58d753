"""The tasks by name: those with a folder below `resnets/tasks`, and those that a program has registered."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnets.errors import UserError
from resnets.message_format import suggestion

if TYPE_CHECKING:
    from resnets.tasks.base import Task
    from resnets.weights.checkpoint import Checkpoint

# The order in which the layout of data is asked for its task: labels of objects and pixels say more than folders.
_ORDER = ("detection", "segmentation", "multilabel", "classification")
_registered: dict[str, type[Task]] = {}


def register(task: type[Task]) -> None:
    """Make a task known under its name for the rest of this process, such as one that is defined in a user's program."""
    _registered[task.name] = task


def names() -> list[str]:
    """The names of all tasks, in the order in which data are asked for their task; no task is imported."""
    own = [name for name in _folders() if name not in _registered]
    ordered = sorted(own, key=lambda name: (_ORDER.index(name) if name in _ORDER else -1, name))
    return [*_registered, *ordered]


@cache
def _folders() -> tuple[str, ...]:
    """The folders of this package that hold a task: those with a module `task`."""
    package = Path(__file__).parent
    return tuple(
        entry.name
        for entry in pkgutil.iter_modules([str(package)])
        if entry.ispkg and (package / entry.name / "task.py").exists()
    )


def find(name: str) -> type[Task]:
    """The task of that name: the class `TASK` of its module `task`.

    Raises:
        UserError: there is no such task.
    """
    if name in _registered:
        return _registered[name]
    if name not in _folders():
        known = names()
        raise UserError(f"There is no task '{name}'.{suggestion(name, known)} There are: {', '.join(known)}.")
    task: type[Task] = importlib.import_module(f"resnets.tasks.{name}.task").TASK
    return task


def of_model(model: str | None) -> type[Task] | None:
    """The task that the beginning of a model's name means, such as "fasterrcnn_"; None if it means none."""
    for name in names() if model else ():
        if model and model.startswith(tuple(find(name).model_prefixes)):
            return find(name)
    return None


def of_data(location: str | Path) -> list[type[Task]]:
    """The tasks that data of this layout are usual for, the most specific one first; no image is decoded.

    Data that no task recognizes, and built-in ones, are for classification, whose reader says what is wrong with them.
    """
    path = Path(location).expanduser()
    return [find(name) for name in names() if _recognizes(find(name), path)] or [find("classification")]


def _recognizes(task: type[Task], path: Path) -> bool:
    try:
        return task.recognizes(path)
    except UserError:  # a file that this task cannot read may be for another one
        return False


def of_checkpoint(checkpoint: Checkpoint) -> Task:
    """The task of a checkpoint, with its class names, configuration and fitted values.

    Raises:
        UserError: there is no such task, or its configuration is of another version.
    """
    task = find(checkpoint.task)
    names = checkpoint.class_names
    if not names and checkpoint.task == "classification":  # most files of other libraries have none
        names = checkpoint.display_names
    values: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in checkpoint.config.items()
    }
    try:
        config = task.Config(**{"name": task.name, **values})
    except TypeError as error:
        raise UserError(f"The checkpoint has settings that the task {task.name} does not know: {error}.") from error
    return task(names, config, checkpoint.fitted)
