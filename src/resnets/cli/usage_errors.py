"""Messages for commands that cannot be parsed: what was received, and the nearest valid form."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

from resnets.cli import migration_hints
from resnets.message_format import suggestion


def message(error: Any, words: Sequence[str]) -> str:
    """One line for a command that typer cannot parse: what was received, and the nearest valid form."""
    context, kind = error.ctx, type(error).__name__
    path = context.command_path if context else "resnets"
    if kind == "NoSuchOption":
        flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("-")]
        verb = path.removeprefix("resnets ")
        hint = migration_hints.flag_hint(verb, error.option_name, flags) or suggestion(error.option_name, flags)
        files = [word for word in words if word.startswith("-") and word.strip("-") and os.path.lexists(word)]
        hint = f" If '{files[0]}' is a file, write './{files[0]}'." if files else hint
        message = f"'{path}' has no option '{error.option_name}'.{hint}"
    elif kind == "MissingParameter":
        arguments = [parameter for parameter in context.command.params if parameter.param_type_name == "argument"]
        option = error.param is not None and error.param.param_type_name == "option"
        missing = error.param.opts[0] if option else " ".join(each.metavar or each.name.upper() for each in arguments)
        received = shlex.join(words[path.count(" ") :])
        message = f"'{path}' needs {missing}; received {received or 'nothing'}"
        if received and error.param is not None and len(arguments) > 1 and not option:
            message += f": {error.param.metavar or error.param.name.upper()} is missing"
    elif kind == "BadParameter" and error.param is not None:
        received = _received(error.param.opts, words)
        message = f"'{received}' is not valid: {error.message.partition(',')[0]}.{_decimal_hint(received)}"
    else:
        message = " ".join(error.format_message().split())
        if hint := _space_hint(words):
            message = f"{message}.{hint}"
    return f"{message if message.endswith('?') else message.removesuffix('.') + '.'} See '{path} --help'."


def _received(flags: Sequence[str], words: Sequence[str]) -> str:
    """The flag as it was typed, with its value, which typer's errors do not contain."""
    for position, word in enumerate(words):
        if word in flags:
            return " ".join(words[position : position + 2])
        if word.partition("=")[0] in flags:
            return word
    return flags[0]


def _decimal_hint(received: str) -> str:
    """` Write 0.01.` for a number with a decimal comma, or an empty string."""
    match = re.search(r"(?<![\d,])(-?\d+),(\d+)$", received)
    return f" Write {match[1]}.{match[2]}, with a point." if match else ""


def _space_hint(words: Sequence[str]) -> str:
    """` Quote a name with spaces: 'my images'.` where adjacent arguments are the name of one file, or ""."""
    for first in range(len(words)):
        for last in range(first + 2, len(words) + 1):
            name = " ".join(words[first:last])
            if os.path.exists(name):
                return f" Quote a name with spaces: '{name}'."
    return ""
