"""The words of a command: both spellings of them, and messages for commands that cannot be parsed."""

import shlex
from collections.abc import Sequence
from typing import Any

from resnets.message_format import suggestion


def normalize_arguments(words: Sequence[str]) -> list[str]:
    """The words of a command as spelled here: `--val_fraction` is `--val-fraction`, `lr_find` is `lr-find`."""
    if not words:
        return ["--help"]
    verb, *rest = words
    return [verb if verb.startswith("-") else verb.replace("_", "-"), *map(_dashed, rest)]


def _dashed(word: str) -> str:
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if word.startswith("--") else word


def message(error: Any, words: Sequence[str]) -> str:
    """One line for a command that typer cannot parse: what was received, and the nearest valid form."""
    context, kind = error.ctx, type(error).__name__
    path = context.command_path if context else "resnets"
    if kind == "NoSuchOption":
        flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("-")]
        message = f"'{path}' has no option '{error.option_name}'.{suggestion(error.option_name, flags)}"
    elif kind == "MissingParameter":
        arguments = [parameter for parameter in context.command.params if parameter.param_type_name == "argument"]
        option = error.param is not None and error.param.param_type_name == "option"
        missing = error.param.opts[0] if option else " ".join(each.metavar or each.name.upper() for each in arguments)
        received = shlex.join(words[path.count(" ") :])
        message = f"'{path}' needs {missing}; received {received or 'nothing'}"
        if received and error.param is not None and len(arguments) > 1 and not option:
            message += f": {error.param.metavar or error.param.name.upper()} is missing"
    elif kind == "BadParameter" and error.param is not None:
        message = f"'{_received(error.param.opts, words)}' is not valid: {error.message.partition(',')[0]}."
    else:
        message = " ".join(error.format_message().split())
        verbs = list(getattr(context.command, "commands", ())) if context else []
        if context and message.startswith("No such command") and (verb := words[path.count(" ")]):
            message = f"'{path}' has no command '{verb}'.{suggestion(verb, verbs)} The commands are {', '.join(verbs)}."
    return f"{message if message.endswith('?') else message.removesuffix('.') + '.'} See '{path} --help'."


def _received(flags: Sequence[str], words: Sequence[str]) -> str:
    """The flag as it was typed, with its value, which typer's errors do not contain."""
    for position, word in enumerate(words):
        if word in flags:
            return " ".join(words[position : position + 2])
        if word.partition("=")[0] in flags:
            return word
    return flags[0]
