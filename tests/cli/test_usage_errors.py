"""Messages for commands that cannot be parsed."""

from __future__ import annotations

import pytest

from resnets.cli import main, usage_errors


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["models", "--jsn"],
            "'resnets models' has no option '--jsn'. Did you mean '--json'? See 'resnets models --help'.",
        ),
        (["weights", "verify", "a.pth"], "'resnets weights verify' needs A B; received a.pth: B is missing."),
        (["predict", "runs/base"], "received runs/base: "),
        (["bench", "tiny", "--seconds", "0,5"], "'--seconds 0,5' is not valid: "),
    ],
)
def test_the_line_has_what_was_received_and_the_nearest_valid_form(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--help"]),
        (["lr_find", "x"], ["lr-find", "x"]),
        (["train", "x_y", "--val_fraction=0.2_"], ["train", "x_y", "--val-fraction=0.2_"]),
        (["train", "x", "--set", "optim.weight_decay=0.2"], ["train", "x", "--set", "optim.weight_decay=0.2"]),
        (["--version"], ["--version"]),
    ],
)
def test_underscores_become_hyphens(words: list[str], expected: list[str]) -> None:
    assert usage_errors.normalize_arguments(words) == expected
