"""Verbs, flags and arguments as other tools spell them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from resnets.cli import main, migration_hints
from resnets.cli.main import VERBS
from resnets.errors import UserError


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--weights", "run", "a.jpg", "--top-k", "2"],
        ["predict", "--weights=run", "a.jpg", "--top-k", "2"],
        ["predict", "a.jpg", "--top-k", "2", "--weights", "run"],
    ],
)
def test_the_checkpoint_may_follow_the_flag_of_train(words):
    arguments = migration_hints.normalize_arguments(words, VERBS)
    assert arguments[:2] == ["predict", "run"]
    assert sorted(arguments[2:]) == ["--top-k", "2", "a.jpg"]


def test_other_arguments_are_not_changed():
    assert migration_hints.normalize_arguments(["predict", "run", "--", "--weights", "b"], VERBS)[1] == "run"
    assert migration_hints.normalize_arguments(["predict", "--weights"], VERBS) == ["predict", "--weights"]
    assert migration_hints.normalize_arguments(["train", "data", "--weights", "w"], VERBS) == [
        "train",
        "data",
        "--weights",
        "w",
    ]


@pytest.mark.parametrize("flag", ["--test-fraction", "--test-size"])
def test_a_test_split_is_made_by_another_command(flag):
    assert "resnets data split DATA --test-fraction 0.15" in migration_hints.flag_hint(
        "train", flag, ["--val-fraction"]
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "photos", "model=resnet50"], "Write it as '--model resnet50'."),
        (["lr_find", "photos", "model=resnet50"], "Write it as '--model resnet50'."),
        (["train", "data=photos"], "The data is the first argument: resnets train DATA."),
        (["lr-find", "data=photos"], "The data is the first argument: resnets lr-find DATA."),
        (["predict", "model=net"], "The checkpoint or run directory is the first argument: resnets predict"),
        (["predict", "run", "source=a.jpg"], "The images are plain arguments: resnets predict"),
        (["evaluate", "model=net"], "The checkpoint or run directory is the first argument: resnets evaluate"),
        (["evaluate", "run", "data=photos"], "The data is the last argument: resnets evaluate"),
        (["train", "photos", "test_fraction=0.1"], "Make a test split first"),
    ],
)
def test_an_assignment_is_explained_for_its_verb(words: list[str], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        migration_hints.normalize_arguments(words, VERBS)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--help"]),
        (["lr_find", "x"], ["lr-find", "x"]),
        (["train", "x", "--val_fraction=0.2"], ["train", "x", "--val-fraction=0.2"]),
        (["train", "x", "--set", "optim.lr=0.2"], ["train", "x", "--set", "optim.lr=0.2"]),
        (["train", "x", "--set", "seed=1"], ["train", "x", "--set", "seed=1"]),
        (["--version"], ["--version"]),
    ],
)
def test_underscores_become_hyphens(words: list[str], expected: list[str]) -> None:
    assert migration_hints.normalize_arguments(words, VERBS) == expected


def test_a_file_whose_name_looks_like_a_setting_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.jpg").write_bytes(b"")
    assert migration_hints.normalize_arguments(["predict", "m", "a=b.jpg"], VERBS) == ["predict", "m", "a=b.jpg"]
    with pytest.raises(UserError, match=r"Write it as '--a c\.jpg'"):
        migration_hints.normalize_arguments(["predict", "m", "a=c.jpg"], VERBS)


def test_every_hint_names_a_flag_or_a_verb_that_exists() -> None:
    group = typer.main.get_command(main.application())
    flags = {
        flag
        for verb in VERBS
        for parameter in group.commands[verb].params  # type: ignore[attr-defined]
        for flag in parameter.opts
    }
    assert {here.partition(" ")[0] for here in migration_hints.FLAGS.values()} <= flags
    assert not set(migration_hints.FLAGS) & flags
    for here in migration_hints.VERBS.values():
        verb, _, inner = here.partition(" ")
        assert verb in VERBS
        assert not inner or inner in group.commands[verb].commands  # type: ignore[attr-defined]
    assert not set(migration_hints.VERBS) & set(VERBS)
