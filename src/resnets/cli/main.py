"""The command `resnets`: its verbs, and its exit code."""

import contextlib
import functools
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from resnets import progress
from resnets.cli import error_messages, output, usage_errors
from resnets.cli.flags import as_flags
from resnets.errors import UserError

# Every usage error of typer derives from this one; its module moved between typer's versions, BadParameter did not.
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]

VERBS = (
    "train", "evaluate", "predict", "serve", "embed", "search", "export", "quantize", "models", "summary", "lr-find", "bench",
    "study", "data", "weights",
)  # fmt: skip
GROUPS = ("data", "weights")  # verbs with verbs of their own

INTERRUPTED = 128 + 2  # how shells report SIGINT
PIPE_CLOSED = 128 + 13  # and SIGPIPE


def application() -> typer.Typer:
    """All verbs as one Typer application. Their modules import no large library."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.callback(invoke_without_command=True)(_root)
    for verb in VERBS:
        name = verb.replace("-", "_")
        module = importlib.import_module(f"resnets.cli.verbs.{name}")
        if verb in GROUPS:
            app.add_typer(module.app, name=verb)
        else:
            app.command(verb)(getattr(module, name))
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Train a residual network on your images, evaluate it, and use it."""
    if version:
        from resnets import __version__

        output.echo(f"resnets {__version__}")
    elif context.invoked_subcommand is None:
        output.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: the job was started and failed. 2: it cannot be done as asked. 130: interrupted. 141: the reader of
    stdout went away. 143, 129: SIGTERM, SIGHUP. The environment variable RESNETS_DEBUG=1 adds the traceback to every error.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not output.prepare_streams():
        progress.print_line("stdout is closed: its output is lost; results can be written to a file")
    progress.format_message = as_flags
    try:
        with _ended_by_signals():
            code = _run(usage_errors.normalize_arguments(words))
            sys.stdout.flush()
            return code
    except (BrokenPipeError, SystemExit) as end:
        # rich turns a closed pipe into SystemExit.
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        progress.print_line("interrupted")
        return INTERRUPTED
    except _Ended as end:
        progress.print_line(f"ended by {end.signal.name}")
        return 128 + end.signal
    except Exception as error:
        if os.environ.get("RESNETS_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        message, code = error_messages.explain(error)
        progress.print_line(f"error: {message}")
        return code
    finally:
        progress.format_message = str
        output.flush()


class _Ended(BaseException):
    """A signal that ends the process. Half-written files are removed on the way out, as with Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise `_Ended` where SIGTERM or SIGHUP would kill the process; a signal that is ignored (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    owner = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() == owner:
            raise _Ended(number)
        signal.signal(number, signal.SIG_DFL)  # in a process that was forked by a library
        os.kill(os.getpid(), number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@functools.cache
def command() -> Any:
    """What parses the words and calls the verb; built once, in 40 ms, for all calls of `main` in a process."""
    return typer.main.get_command(application())


def _run(words: list[str]) -> int:
    try:
        with command().make_context("resnets", words) as context:
            command().invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except USAGE_ERROR as error:
        raise UserError(usage_errors.message(error, words)) from error
    return 0
