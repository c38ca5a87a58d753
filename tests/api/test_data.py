"""`resnets.check` and `resnets.split` against the JSON of `resnets data`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.data.check.test_near_duplicates import scene

import resnets
from resnets.cli import main
from resnets.errors import UserError
from resnets.tasks.embeddings import index_file
from resnets.tasks.embeddings.embedding_index import Index


def test_check_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data" / "ant" / "0.png").write_bytes(b"no image")
    assert main.main(["data", "check", "data", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    report = resnets.check(folder / "data", workers=1, html="check.html")
    assert capsys.readouterr().out == ""
    assert report.has_errors
    assert json.loads(report.to_json())["problems"][0]["kind"] == printed["problems"][0]["kind"]
    assert Path("check.html").is_file()


def test_split_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", "split", "data", "--test-fraction", "0.25", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.split("data", test_fraction=0.25, out="again.csv")
    assert capsys.readouterr().out == ""
    assert result.to_dict() == {**printed, "out": "again.csv"}
    assert Path("again.csv").read_bytes() == Path("split.csv").read_bytes()
    assert sum(result.counts.values()) == len(result.samples) == 12
    assert {sample.split for sample in result.samples} == {"train", "val", "test"}


def test_split_writes_nothing_without_a_file(folder: Path) -> None:
    before = set(folder.iterdir())
    assert resnets.split("data").out is None
    assert set(folder.iterdir()) == before
    with pytest.raises(UserError, match="no such folder"):
        resnets.split("no such folder")


def test_near_duplicates_by_vectors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An image and a part of it are near duplicates only by their vectors, which are found by path."""
    label = sorted(Path("data").iterdir())[1]
    image = scene(1)
    image.save(label / "0.png")
    image.crop((9, 9, 151, 151)).save(label / "1.png")
    paths = tuple(sorted(map(str, Path("data").glob("*/*.png"))))
    first, second = (paths.index(str(label / f"{number}.png")) for number in (0, 1))
    apart = np.eye(len(paths), dtype=np.float32)
    together = apart.copy()
    together[second] = together[first]

    def kinds(vectors: np.ndarray) -> set[str]:
        index = Index(vectors, paths[: len(vectors)], os.getcwd(), "model", "", "pooled", {})
        index_file.write(index, "index.npz")
        return {problem.kind for problem in resnets.check("data", vectors="index.npz").problems}

    assert "near-duplicates" not in {problem.kind for problem in resnets.check("data").problems}
    assert "near-duplicates" not in kinds(apart)
    assert "near-duplicates" in kinds(together)
    assert "near-duplicates" not in kinds(together[:second])
    assert f"no vector of {len(paths) - second} images" in capsys.readouterr().err
    shutil.copytree("data", "others")
    with pytest.raises(UserError, match="has no vector of an image of 'others'"):
        resnets.check("others", vectors="index.npz")
