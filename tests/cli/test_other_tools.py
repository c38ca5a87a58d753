from __future__ import annotations

import pytest

from resnets.cli import other_tools
from resnets.cli.main import VERBS


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--weights", "run", "a.jpg", "--top-k", "2"],
        ["predict", "--weights=run", "a.jpg", "--top-k", "2"],
        ["predict", "a.jpg", "--top-k", "2", "--weights", "run"],
    ],
)
def test_the_checkpoint_may_stand_behind_the_flag_of_train(words):
    made = other_tools.canonical(words, VERBS)
    assert made[:2] == ["predict", "run"]
    assert sorted(made[2:]) == ["--top-k", "2", "a.jpg"]


def test_what_is_no_flag_of_train_stays():
    assert other_tools.canonical(["predict", "run", "--", "--weights", "b"], VERBS)[1] == "run"
    assert other_tools.canonical(["predict", "--weights"], VERBS) == ["predict", "--weights"]
    assert other_tools.canonical(["train", "data", "--weights", "w"], VERBS) == [
        "train",
        "data",
        "--weights",
        "w",
    ]


@pytest.mark.parametrize("flag", ["--test-fraction", "--test-size"])
def test_a_test_split_is_made_by_another_command(flag):
    assert "resnets data split DATA --test-fraction 0.15" in other_tools.flag_hint(flag, ["--val-fraction"])
