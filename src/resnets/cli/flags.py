"""The flags of the command line: second spellings, `--set KEY=VALUE`, and the library's arguments written as flags."""

import ast
import re
from collections.abc import Sequence
from typing import Any

from resnets.errors import UserError

IMGSZ = ("--imgsz", "--image-size")
BATCH = ("--batch", "--batch-size", "-b")
DATA_HELP = "Folder of class folders, splits, or images with boxes or masks; shards, .csv, .jsonl, digits, digit-scenes, shapes."
OUT_DIR = ("--out", "--output-dir")

SETTINGS_OF_TASKS = ("mask_values", "mask_value_tolerance")  # arguments of Python that are no flags
# `batch`, `batch=8`, `data.folds=5`. Commands in backquotes hold blanks before any "=", so they are left alone.
_ARGUMENT = re.compile(r"`([a-z]\w*(?:\.[a-z]\w*)*)(?:=([^`]*))?`")


def as_flags(message: str) -> str:
    """The message with each argument in backquotes written as it is typed in a shell.

    `top_k` becomes --top-k, `batch=8` becomes --batch 8, `resume=True` becomes --resume, the key of a recipe
    `data.folds=5` becomes --set data.folds=5, and a setting of a network, `settings.stem=cifar`, becomes --set stem=cifar.
    """
    return _ARGUMENT.sub(lambda found: _flag(found[1], found[2]), message)


def _flag(name: str, value: str | None) -> str:
    if name == "settings":
        return "--set"
    if name in SETTINGS_OF_TASKS:
        name = f"task.{name}"
    if "." in name:
        name = name.removeprefix("settings.")
        return f"--set {name}" if value is None else f"--set {name}={value}"
    flag = "--" + name.replace("_", "-")
    return flag if value in (None, "True") else f"{flag} {value}"


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """The settings of a network in `--set KEY=VALUE`, such as `drop_path_rate=0.2` or `num_blocks=2,2`.

    A value that is no Python literal is a string.

    Raises:
        UserError: another form.
    """
    return dict(map(_parse_setting, assignments))


def _parse_setting(assignment: str) -> tuple[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or key == "name":
        raise UserError(f"--set takes a network's setting as KEY=VALUE, such as stem=cifar; received '{assignment}'.")
    if text.lower() in ("true", "false"):
        return key, text.lower() == "true"
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text


def parse_integers(name: str, text: str) -> list[int]:
    """The positive integers of a list such as `1,16`.

    Raises:
        UserError: something else; the message names the argument `name`.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise UserError(f"`{name}` is a number above 0, or a list such as 1,16; received '{text}'.")
    return [int(word) for word in words]
