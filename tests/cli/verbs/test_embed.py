"""`resnets embed`: a summary on stdout if it is asked for, and the vectors in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.cli import main
from resnets.tasks.embeddings import index_file


def test_vectors_in_a_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["embed", "one.safetensors", "data", "--out", "a.npz"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("15 images, 48 numbers each, in ")
    assert index_file.read("a.npz").paths == tuple(sorted(map(str, Path("data").rglob("*.png"))))


def test_a_summary_and_an_image_that_cannot_be_read(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "embed",
        "one.safetensors",
        "data",
        "gone.png",
        "--out",
        "a.npz",
        "--layer",
        "stage2",
        "--pca",
        "3",
        "--l2",
        "--json",
    ]
    assert main.main(words) == 1
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert (summary["images"], summary["dimensions"], summary["layer"], summary["l2"]) == (15, 3, "stage2", True)
    assert [each["path"] for each in summary["errors"]] == ["gone.png"]
    assert shown.err.splitlines()[-1] == "error: 1 of 16 images could not be read: 'gone.png'."
