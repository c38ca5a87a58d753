"""Messages for commands that cannot be parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.cli import main


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["models", "--jsn"],
            "'resnets models' has no option '--jsn'. Did you mean '--json'? See 'resnets models --help'.",
        ),
        (["weights", "verify", "a.pth"], "'resnets weights verify' needs A B; received a.pth: B is missing."),
        (["predict", "runs/base"], "received runs/base: "),
        (["bench", "tiny", "--seconds", "0,5"], "Write 0.5, with a point. See 'resnets bench --help'."),
    ],
)
def test_the_line_has_what_was_received_and_the_nearest_valid_form(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    assert line in capsys.readouterr().err


def test_an_option_that_is_a_file_is_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-a.jpg").write_bytes(b"")
    assert main.main(["predict", "run", "-a.jpg"]) == 2
    assert "If '-a.jpg' is a file, write './-a.jpg'." in capsys.readouterr().err
