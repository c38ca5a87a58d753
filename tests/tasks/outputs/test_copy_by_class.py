"""Copies of images by class: nothing is lost, overwritten or put elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import JobError
from resnets.tasks.outputs.copy_by_class import copy, folder_name


@pytest.mark.parametrize("label", ["daisy", "red panda", "größe", "猫", "a.b", "-x", "(1)"])
def test_a_class_name_that_can_be_a_folder_is_one(label: str) -> None:
    assert folder_name(label) == label


UNSAFE = [
    "..", ".", "a/b", "../../etc", "/etc", "c:\\x", "a\0b", "line\nbreak", "x.", "x ", ".hidden", "CON", "nul.txt",
    "a" * 300, "猫" * 200, "<b>", 'a"b', "?", "*", "|",
]  # fmt: skip


@pytest.mark.parametrize("label", UNSAFE)
def test_any_other_gets_a_safe_one(label: str, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"1")
    out = tmp_path / "out"
    target = copy(tmp_path / "1.jpg", label, out)
    assert target.parent.parent.resolve() == out.resolve()
    assert target.read_bytes() == b"1"
    assert not target.parent.name.startswith(".")


def test_each_class_has_a_folder_of_its_own() -> None:
    labels = [*UNSAFE, "_", "a_b", "a:b", "a?b", "b" * 101, "b" * 102]
    assert len({folder_name(label).lower() for label in labels}) == len(labels)


def test_names_that_clash_are_numbered_and_nothing_is_overwritten(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x.tar.jpg").write_text(str(number))
    for number in range(3):
        copy(tmp_path / str(number) / "x.tar.jpg", "cat", tmp_path / "out")
    found = {path.name: path.read_text() for path in (tmp_path / "out" / "cat").iterdir()}
    assert found == {"x.tar.jpg": "0", "x.tar-2.jpg": "1", "x.tar-3.jpg": "2"}


def test_a_second_run_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_text("one")
    targets = {copy(tmp_path / "1.jpg", "cat", tmp_path / "out") for _ in range(3)}
    assert [path.name for path in (tmp_path / "out" / "cat").iterdir()] == ["1.jpg"]
    assert len(targets) == 1


def test_a_path_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_text("one")
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="`sort_into`"):
        copy(tmp_path / "1.jpg", "cat", tmp_path / "file")


def test_a_missing_image_leaves_no_empty_copy(tmp_path: Path) -> None:
    with pytest.raises(JobError):
        copy(tmp_path / "gone.jpg", "cat", tmp_path / "out")
    assert not any((tmp_path / "out" / "cat").iterdir())
