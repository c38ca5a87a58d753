"""`resnets.shard` against the JSON of `resnets data shard`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_shard_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("webdataset")
    assert main.main(["data", "shard", "data", "printed", "--val-fraction", "0.25", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.shard(folder / "data", Path("shards"), val_fraction=0.25)
    assert capsys.readouterr().out == ""
    assert result.to_dict() == {**printed, "out": "shards"}
    files = sorted(path.name for path in Path("printed").iterdir())
    assert [(Path("shards") / name).read_bytes() for name in files] == [
        (Path("printed") / name).read_bytes() for name in files
    ]
    with pytest.raises(UserError, match=r"`val_fraction=0\.5` has no effect"):
        resnets.shard("shards", "again", val_fraction=0.5)
