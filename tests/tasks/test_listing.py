"""Words of the command line and the pictures that they stand for."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.tasks.listing import pictures

NOTHING = io.StringIO("")


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "a/1.jpg", "a/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/deep/er/3.webp", "a/.git/4.jpg", "b/5.jpeg", "b[1].jpg",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_stands_for_its_pictures_at_any_depth(there: Path) -> None:
    assert pictures(["a"], NOTHING) == ["a/1.jpg", "a/2.PNG", "a/deep/er/3.webp"]


def test_words_keep_their_order_and_files_are_taken_whatever_they_are_called(there: Path) -> None:
    words = ["b/5.jpeg", "a/notes.txt", "missing.jpg", "b"]
    assert pictures(words, NOTHING) == ["b/5.jpeg", "a/notes.txt", "missing.jpg", "b/5.jpeg"]


def test_patterns(there: Path) -> None:
    assert pictures(["a/*.jpg"], NOTHING) == ["a/1.jpg"]
    assert pictures(["**/*.jp*g"], NOTHING) == ["a/1.jpg", "b/5.jpeg", "b[1].jpg"]
    assert pictures(["b[1].jpg"], NOTHING) == ["b[1].jpg"]  # a file of that very name


@pytest.mark.parametrize("text", ["a/1.jpg\nb/5.jpeg\n", "a/1.jpg\r\nb/5.jpeg", "a/1.jpg\0b/5.jpeg\0"])
def test_a_list_on_stdin(text: str, there: Path) -> None:
    assert pictures(["-"], io.StringIO(text)) == ["a/1.jpg", "b/5.jpeg"]


def test_names_on_stdin_that_are_no_text_and_that_hold_newlines(there: Path) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9.jpg\0two\nlines.jpg\0"), encoding="utf-8")
    assert pictures(["-"], stdin) == [os.fsdecode(b"caf\xe9.jpg"), "two\nlines.jpg"]


def test_a_loop_of_links_ends(there: Path) -> None:
    (there / "b" / "round").symlink_to(there / "b")
    (there / "b" / "other").symlink_to(there / "a")
    found = pictures(["b"], NOTHING)
    assert [Path(path).name for path in found] == ["5.jpeg", "1.jpg", "2.PNG", "3.webp"]


@pytest.mark.parametrize(
    ("word", "shows"), [("empty", "'empty'"), ("x*.jpg", r"'x\*.jpg'"), ("-", "the list on stdin")]
)
def test_nothing_found(word: str, shows: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=f"no pictures in {shows}"):
        pictures([word], NOTHING)
    with contextlib.redirect_stdout(None):
        assert pictures([word, "b/5.jpeg"], NOTHING) == ["b/5.jpeg"]
    assert "no pictures in" in capsys.readouterr().err
