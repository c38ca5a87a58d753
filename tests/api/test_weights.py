"""`resnets.convert` and `resnets.verify` against the JSON of `resnets weights`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_convert_and_verify_return_what_the_commands_print(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["weights", "convert", "a.safetensors", "--to", "resnets", "--out", "copy.safetensors", "--json"]
    assert main.main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.convert("a.safetensors", to="resnets", out="copy.safetensors")
    assert json.loads(json.dumps(result.to_dict())) == printed
    assert resnets.load("copy.safetensors").class_names == ("ant", "bee")

    assert main.main(["weights", "verify", "a.safetensors", "copy.safetensors", "--images", "data", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    verified = resnets.verify("a.safetensors", "copy.safetensors", images=["data"])
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(verified.to_dict())) == printed
    assert verified.equal
    assert not resnets.verify("a.safetensors", "b.safetensors", images=[folder / "data"]).equal


def test_settings_that_do_not_fit_are_errors(folder: Path) -> None:
    with pytest.raises(UserError, match="`to` is one of"):
        resnets.convert("a.safetensors", to="tensorflow", out="b.h5")
    with pytest.raises(UserError, match="`model`"):
        resnets.convert("a.safetensors", to="resnets", out="c.safetensors", model="resnet18")
