"""What holds for every verb of the command line."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from resnets.cli import main

CLI = Path(main.__file__).parent


def leaves(entry: Any, name: str = "resnets") -> dict[str, Any]:
    """Every command that does something, by the words that call it."""
    if not hasattr(entry, "commands"):
        return {name: entry}
    return {path: leaf for word, sub in entry.commands.items() for path, leaf in leaves(sub, f"{name} {word}").items()}


VERBS = leaves(main.command())


def test_all_verbs_are_there() -> None:
    top = {name.split()[1] for name in VERBS}
    assert top == set(main.VERBS)
    assert {"resnets data get", "resnets data check", "resnets data split"} <= set(VERBS)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_and_every_word_and_flag_of_it_is_explained(name: str) -> None:
    command = VERBS[name]
    assert re.match(r"[A-Z]", command.help or ""), f"{name} has no help"
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", VERBS)
def test_the_help_shows_every_word_of_the_explanations(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bracket or a star is markup to some formatters, which then swallow it."""
    monkeypatch.setenv("COLUMNS", "400")
    assert main.main([*name.split()[1:], "--help"]) == 0
    shown = set(re.findall(r"\w+", capsys.readouterr().out))
    for parameter in VERBS[name].params:
        assert set(re.findall(r"\w+", parameter.help or "")) <= shown


@pytest.mark.parametrize("name", VERBS)
def test_flags_are_long_and_written_with_dashes(name: str) -> None:
    for parameter in VERBS[name].params:
        if parameter.param_type_name == "option":
            for flag in parameter.opts:
                assert flag == "-b" or re.fullmatch(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*", flag), f"{name} {flag}"


@pytest.mark.parametrize("name", VERBS)
def test_flags_have_the_spellings_of_other_tools(name: str) -> None:
    spellings = {"--imgsz": {"--image-size"}, "--batch": {"--batch-size", "-b"}}
    for parameter in VERBS[name].params:
        for flag, others in spellings.items():
            if flag in parameter.opts:
                assert set(parameter.opts) == {flag, *others}, f"{name} {flag}"
        if "--output-dir" in parameter.opts:
            assert "--out" in parameter.opts


def test_every_verb_prints_its_result_as_json_if_asked() -> None:
    """`predict` has --jsonl, a line for each image. What `serve` gives are its answers."""
    without = [
        name for name, verb in VERBS.items() if not {"--json", "--jsonl"} & {f for p in verb.params for f in p.opts}
    ]
    assert without == ["resnets serve"]


def test_one_flag_takes_the_same_kind_of_value_everywhere() -> None:
    kinds: dict[str, dict[str, list[str]]] = {}
    for name, command in VERBS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                kind = "flag" if parameter.is_flag else "several" if parameter.multiple else "value"
                kinds.setdefault(parameter.opts[0], {}).setdefault(kind, []).append(name)
    # `predict` writes heat maps into a folder, `export` makes them an output of the file: the same thing in two places.
    # `train` resumes a run, which it names; what `predict` resumes is named by --parquet.
    for flag, flags, value in (("--heatmap", "export", "predict"), ("--resume", "predict", "train")):
        both = {name: kind for kind, names in kinds.pop(flag).items() for name in names}
        assert both == {f"resnets {value}": "value", f"resnets {flags}": "flag"}
    # A study compares several networks; all other verbs begin from one.
    assert kinds.pop("--weights")["several"] == ["resnets study"]
    differing = {flag: found for flag, found in kinds.items() if len(found) > 1}
    assert differing == {}


LIBRARY = sorted(path for path in CLI.parent.rglob("*.py") if CLI not in path.parents)


def raised_with_a_flag(path: Path) -> list[str]:
    found: list[str] = []
    if "--" not in (source := path.read_text()):
        return found
    for raised in ast.walk(ast.parse(source)):
        if isinstance(raised, ast.Raise) and raised.exc is not None:
            parts = [
                each for each in ast.walk(raised.exc) if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
            parts.sort(key=lambda each: (each.lineno, each.col_offset))
            message = "".join(each.value for each in parts)
            if re.search("--", re.sub(r"(resnets|pip|git) [a-z].*", "", message)):
                found.append(f"{path}:{raised.lineno}")
    return found


def test_errors_of_the_library_name_arguments_and_no_flags() -> None:
    """They are raised in Python programs, too, which have no flags. A whole command of `resnets` may be named."""
    assert len(LIBRARY) > 300
    assert [line for path in LIBRARY for line in raised_with_a_flag(path)] == []
