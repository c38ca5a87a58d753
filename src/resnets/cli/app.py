"""The command `resnets`: its verbs, and how a run of it ends."""

from __future__ import annotations

import errno
import importlib
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from resnets import progress
from resnets.cli import aliases
from resnets.cli.flags import as_flags
from resnets.errors import JobError, UserError, suggestion

# Every usage error of typer derives from this one; its module moved between typer's versions, BadParameter did not.
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]

VERBS = ("train", "evaluate", "predict", "models", "summary", "lr-find", "bench", "data", "weights")
GROUPS = ("data", "weights")  # verbs with verbs of their own

INTERRUPTED = 128 + 2  # how shells report SIGINT
PIPE_CLOSED = 128 + 13  # and SIGPIPE


def application() -> typer.Typer:
    """All verbs as one Typer application. Their modules import nothing heavy."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.callback(invoke_without_command=True)(_root)
    for verb in VERBS:
        name = verb.replace("-", "_")
        module = importlib.import_module(f"resnets.cli.{name}")
        if verb in GROUPS:
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(getattr(module, name))
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Train a residual network on your pictures, see how good it is, and use it."""
    if version:
        from resnets import __version__

        typer.echo(f"resnets {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: the job was started and failed. 2: it cannot be done as asked. 130: interrupted. 141: the reader of
    stdout went away. The environment variable RESNETS_DEBUG=1 adds the traceback to every error.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no text; they leave as they came.
        sys.stdout.reconfigure(errors="surrogateescape")
    progress.rephrase = as_flags
    try:
        code = _run(aliases.canonical(words, VERBS))
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        # rich turns a closed pipe into SystemExit. Python flushes stdout once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("RESNETS_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        message, code = _explained(error)
        print(f"error: {message}", file=sys.stderr)
        return code
    finally:
        progress.rephrase = str


def _run(words: list[str]) -> int:
    command = typer.main.get_command(application())
    try:
        with command.make_context("resnets", words) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except USAGE_ERROR as error:
        raise UserError(_usage(error, words)) from error
    return 0


def _usage(error: Any, words: Sequence[str]) -> str:
    """One line for a command that typer could not read: what was received, and the nearest thing that it could be."""
    context, kind = error.ctx, type(error).__name__
    path = context.command_path if context else "resnets"
    if kind == "NoSuchOption":
        flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("-")]
        hint = aliases.flag_hint(error.option_name, flags) or suggestion(error.option_name, flags)
        message = f"'{path}' has no option '{error.option_name}'.{hint}"
    elif kind == "MissingParameter":
        wanted = " ".join(
            parameter.name.upper() for parameter in context.command.params if parameter.param_type_name == "argument"
        )
        message = f"'{path}' needs {wanted}; received {shlex.join(words[1:]) or 'nothing'}."
    elif kind == "BadParameter" and error.param is not None:
        message = f"'{_received(error.param.opts, words)}' is not possible: {error.message.partition(',')[0]}"
    else:
        message = " ".join(error.format_message().split())
    return f"{message if message.endswith('?') else message.removesuffix('.') + '.'} See '{path} --help'."


def _received(flags: Sequence[str], words: Sequence[str]) -> str:
    """The flag as it was given, with its value, which typer's errors do not name."""
    for position, word in enumerate(words):
        if word in flags:
            return " ".join(words[position : position + 2])
        if word.partition("=")[0] in flags:
            return word
    return flags[0]


def _explained(error: Exception) -> tuple[str, int]:
    """What to print for an error, and the exit code."""
    if isinstance(error, UserError):
        return as_flags(str(error)), 2
    if isinstance(error, JobError):
        return as_flags(str(error)), 1
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return "The memory of this machine is used up. Use a smaller --batch, --imgsz or model.", 1
    if isinstance(error, OSError) and error.errno is not None:
        where = f" '{error.filename}'" if error.filename else ""
        advice = {
            errno.ENOSPC: " Free some space, or choose another place with --out.",
            errno.EFBIG: " Choose another place with --out.",
            errno.EACCES: " Choose a place that this user may use.",
            errno.EROFS: " Choose another place with --out.",
        }.get(error.errno, "")
        return f"{error.strerror}{':' if where else ''}{where}.{advice}", 1
    kind = type(error).__name__
    first = next(iter(str(error).splitlines()), "")
    return f"this is a bug in resnets: {kind}: {first}; run again with RESNETS_DEBUG=1 to see where, and report it", 1
