"""What is shown of long work, with and without a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from resnets import progress


def test_every_item_comes_through_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.progress_bar(range(5), description="counting")) == [0, 1, 2, 3, 4]
    assert list(progress.progress_bar(iter("abc"), description="spelling")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_without_a_terminal_a_plain_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0.0)
    list(progress.progress_bar(["a", "b"], description="checking", unit="images"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("checking: 1 of 2, ")
    assert "images/s" in shown.err
    assert "\x1b" not in shown.err


def test_what_was_done_before_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0.0)
    assert list(progress.progress_bar(["a", "b"], description="epoch 3", total=8, initial=6)) == ["a", "b"]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("epoch 3: 7 of 8, ")
    assert last.startswith("epoch 3: 8 of 8, 0 s left")


def test_short_work_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    list(progress.progress_bar(range(100), description="checking"))
    assert capsys.readouterr().err == ""


def test_log_prints_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress.log("lr=0.05 (auto)")
    assert capsys.readouterr() == ("", "lr=0.05 (auto)\n")


def test_on_a_terminal_there_is_a_bar_and_stdout_stays_clean() -> None:
    code = """
from resnets.progress import progress_bar
for item in progress_bar(range(5), description="checking", unit="images"):
    pass
print("result")
"""
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux reports the end of a closed terminal as an error
        pass
    assert done.stdout == "result\n"
    text = shown.decode()
    assert "checking" in text
    assert "images/s" in text
    assert "5/5" in text or "4/5" in text
