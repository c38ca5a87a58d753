"""How the command is called and how it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from resnets import progress
from resnets.cli import main
from resnets.errors import JobError, UserError

RESNETS = [sys.executable, "-m", "resnets"]


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Run the command line with a verb that raises `error`."""

    broken = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @broken.command()
    def models() -> None:
        raise error

    broken.callback()(lambda: None)
    monkeypatch.setattr(main, "command", lambda: typer.main.get_command(broken))
    return main.main(["models"])


def test_without_words_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 0
    shown = capsys.readouterr()
    for verb in main.VERBS:
        assert verb in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([verb, "--help"]) == 0
    assert f"Usage: resnets {verb}" in capsys.readouterr().out


def test_the_version_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("resnets 0.")


# Prints the help of the program that `application` makes, and then the modules that were imported for it.
HELP = """
import sys, typer
{application}
try:
    typer.main.get_command(application)(["--help"])
except SystemExit:
    pass
print("modules:", *sys.modules)
"""
TRIVIAL = 'application = typer.Typer()\n@application.command()\ndef verb(): "Does nothing."'
OURS = "from resnets.cli import main\napplication = main.application()"


def imported(application: str) -> set[str]:
    code = HELP.format(application=application)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules: ")[2].split())


def test_help_imports_little_more_than_a_bare_typer_does() -> None:
    """So it answers at once, whatever the speed of the machine; what may not be imported is in test_imports."""
    more = imported(OURS) - imported(TRIVIAL)
    assert "resnets.cli.verbs.train" in more
    foreign = {name.partition(".")[0] for name in more} - {"resnets"}
    assert foreign <= set(sys.stdlib_module_names)
    assert len(more) <= 60


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no 'x'"), 2, "error: no 'x'\n"),
        (JobError("loss is NaN"), 1, "error: loss is NaN\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.csv"), 1, "error: No space left on device: 'a.csv'. Free"),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"),
            1,
            "error: Permission denied: '/x'. Check its permissions",
        ),
        (MemoryError(), 1, "error: This machine is out of memory. Use a smaller --batch"),
        (
            KeyError("head.fc"),
            1,
            "error: this is a bug in resnets: KeyError: 'head.fc'; run again with RESNETS_DEBUG=1",
        ),
    ],
)
def test_each_ending_has_its_code_and_one_line(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(monkeypatch, error) == code
    shown = capsys.readouterr()
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_the_traceback_is_there_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESNETS_DEBUG", "1")
    assert ending(monkeypatch, UserError("no 'x'")) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: no 'x'\n")


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*RESNETS, "--help"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_is_reported_as_shells_do(tmp_path: Path) -> None:
    """The printed line says that the verb has begun; from there on the signal may come at any time."""
    code = "import signal, sys; print(flush=True); signal.pause()"
    wrapper = f"""
import sys, typer
from resnets.cli import main
def waiting():
    exec({code!r})
application = typer.Typer(add_completion=False)
application.command("models")(waiting)
application.callback()(lambda: None)
main.application = lambda: application
sys.exit(main.main(["models"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", wrapper], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error == b"interrupted\n"


def test_lines_and_errors_name_flags_only_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(monkeypatch, UserError("`top_k` must be 1 or more; received 0.")) == 2
    assert capsys.readouterr().err == "error: --top-k must be 1 or more; received 0.\n"
    progress.log("take `batch=8`")
    assert capsys.readouterr().err == "take `batch=8`\n"
