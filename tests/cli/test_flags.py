"""Arguments in the messages of the library, as the flags of the command line."""

from __future__ import annotations

import pytest

from resnets.cli.flags import as_flags


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`top_k` must be 1 or more; received 0.", "--top-k must be 1 or more; received 0."),
        ("Take `batch=8` or `device=cuda:0`.", "Take --batch 8 or --device cuda:0."),
        ("`data.folds=5` and `data.fold` belong together", "--set data.folds=5 and --set data.fold belong together"),
        ("Give `settings.stem=cifar`; `settings` is empty.", "Give --set stem=cifar; --set is empty."),
        (
            "`mask_value_tolerance=3` needs `mask_values`",
            "--set task.mask_value_tolerance=3 needs --set task.mask_values",
        ),
        ("Go on by `resume=True`.", "Go on by --resume."),
        ("See `resnets data check photos`.", "See `resnets data check photos`."),
        ("No file 'a_b`c'", "No file 'a_b`c'"),
    ],
)
def test_arguments_become_flags(message: str, shown: str) -> None:
    assert as_flags(message) == shown
