"""stdout and stderr that are missing, closed, full, or of an encoding that has few letters."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from resnets.cli import main, output

RESNETS = [sys.executable, "-m", "resnets"]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "größe 98 % – 3×3 █ Ж".encode() + b" \xff\n"),
        ("cp1252", "größe 98 % – 3×3 # \\u0416".encode("cp1252") + b" \xff\n"),
        ("latin-1", "größe 98 % - 3×3 # \\u0416".encode("latin-1") + b" \xff\n"),
        ("ascii", rb"gr\xf6\xdfe 98 % - 3x3 # \u0416" + b" \xff\n"),
    ],
)
def test_every_encoding_can_be_printed_to(encoding: str, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a file name that are no text leave as they came."""
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding=encoding))
    assert output.prepare_streams()
    print("größe 98 % – 3×3 █ Ж \udcff", flush=True)
    assert file.getvalue() == expected


@pytest.mark.parametrize("missing", [("stdout",), ("stderr",), ("stdin", "stdout", "stderr")])
def test_streams_that_are_none(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """As under pythonw or in a service."""
    for name in missing:
        monkeypatch.setattr(sys, name, None)
    assert main.main(["models"]) == 0
    assert main.main(["nonsense"]) == 2


@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">&-", 0, b"", b"stdout is closed: its output is lost"),
        ("2>&-", 0, b"resnets 0", b""),
        ("<&- >&- 2>&-", 0, b"", b""),
        (">/dev/full", 1, b"", b"error: No space left on device. Free some space, or choose another path.\n"),
        ("2>/dev/full", 0, b"resnets 0", b""),
    ],
)
def test_descriptors_that_are_closed_or_full(redirection: str, code: int, out: bytes, err: bytes) -> None:
    command = ["sh", "-c", f'exec "$@" --version {redirection}', "sh", *RESNETS]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith(out)
    assert bool(done.stdout) == bool(out)
    assert done.stderr.startswith(err)
    assert bool(done.stderr) == bool(err)


def test_a_closed_descriptor_is_not_given_to_the_next_file(tmp_path: Path) -> None:
    code = f"""
from resnets.cli import output
output.prepare_streams()
with open({str(tmp_path / "file")!r}, "w") as file:
    assert file.fileno() > 2
"""
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0


def test_json_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["models", "--json"], ["weights", "list", "--json"]):
        file = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding="cp1252"))
        assert main.main(words) == 0
        assert json.loads(file.getvalue().decode("ascii"))


def test_control_characters_of_a_name_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["summary", "\x1b[31mevil\x07\n"]) == 2
    assert capsys.readouterr().err.startswith(r"error: There is no network '\x1b[31mevil\x07\n'")


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_verb_with_one_line(name: str, code: int) -> None:
    """Unless it is ignored, as nohup has it."""
    wrapper = f"""
import os, signal, sys, typer
from resnets.cli import main
def models() -> None:
    os.kill(os.getpid(), signal.{name})
    sys.stdin.read()
application = typer.Typer()
application.command()(models)
application.callback()(lambda: None)
main.application = lambda: application
sys.exit(main.main(["models"]))
"""
    done = subprocess.run([sys.executable, "-c", wrapper], stdin=subprocess.PIPE, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, f"ended by {name}\n".encode())
    ignored = ["sh", "-c", f'trap "" {name.removeprefix("SIG")}; exec "$@"', "sh", sys.executable, "-c", wrapper]
    done = subprocess.run(ignored, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_line_of_a_result_does_not_steer_the_terminal(capsys) -> None:
    output.print_line("`batch=8` of \x1b[2J'a\nb'")
    assert capsys.readouterr().out == "--batch 8 of \\x1b[2J'a\\nb'\n"
