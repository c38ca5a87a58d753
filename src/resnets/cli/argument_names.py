"""Arguments in the messages of the library, as the flags of the command line."""

from __future__ import annotations

import re

# `batch`, `batch=8`, `data.folds=5`. Commands in backquotes hold blanks before any "=", so they are left alone.
_ARGUMENT = re.compile(r"`([a-z]\w*(?:\.[a-z]\w*)*)(?:=([^`]*))?`")


def as_flags(message: str) -> str:
    """The message with each argument in backquotes written as it is typed in a shell.

    `top_k` becomes --top-k, `batch=8` becomes --batch 8, and the key of a recipe `data.folds=5` becomes
    --set data.folds=5.
    """
    return _ARGUMENT.sub(lambda found: _flag(found[1], found[2]), message)


def _flag(name: str, value: str | None) -> str:
    if "." in name:
        return f"--set {name}" if value is None else f"--set {name}={value}"
    flag = "--" + name.replace("_", "-")
    return flag if value is None else f"{flag} {value}"
