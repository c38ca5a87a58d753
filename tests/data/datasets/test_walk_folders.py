"""Folders on storage that does not answer end the command with their name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.datasets.walk_folders import list_folder
from resnets.errors import JobError


@pytest.fixture
def dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of two classes; calls of the system for the second never return, as on a network mount that is gone."""
    for name in ("ant", "dead"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    never = threading.Event()

    def hanging(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            if str(path).endswith("dead"):
                never.wait()
            return function(path, *args, **options)

        return call

    monkeypatch.setattr(os, "scandir", hanging(os.scandir))
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.002")
    yield tmp_path
    never.set()


def test_a_folder_that_cannot_be_listed_in_time_is_named(dead: Path) -> None:
    with pytest.raises(JobError, match=r"dead' could not be read within 0.002 minutes"):
        open_dataset.read(dead)


def test_a_link_to_itself_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "1.png").touch()
    unused = UnusedFiles()
    listing = list_folder(tmp_path, unused)
    assert ([path.name for path in listing.images], [path.name for path in listing.others]) == (["1.png"], ["loop"])
    assert unused == UnusedFiles()
