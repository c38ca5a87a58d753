"""Words of the command line and the images that they stand for."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from PIL import Image
from tests.forked_processes import TIMEOUT_SECONDS, start

from resnets.data.datasets.dataset import UnusedFiles
from resnets.errors import UserError
from resnets.tasks.inputs import image_paths
from resnets.tasks.inputs.image_paths import find_images

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


def test_a_folder_gives_its_images_at_any_depth(there: Path) -> None:
    assert find_images(["a"], NOTHING) == ["a/1.jpg", "a/2.PNG", "a/deep/er/3.webp"]


def test_masks_beside_the_images_are_said_to_be_predicted(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cells/images/1.jpg", "cells/masks/1.png"):
        (there / name).parent.mkdir(parents=True)
        (there / name).touch()
    assert find_images(["cells"], NOTHING) == ["cells/images/1.jpg", "cells/masks/1.png"]
    expected = "'cells' has masks beside its images, which are predicted, too; the images alone are in 'cells/images'"
    assert expected in capsys.readouterr().err.splitlines()
    assert find_images(["cells/images", "a"], NOTHING)[0] == "cells/images/1.jpg"
    assert "masks" not in capsys.readouterr().err


def test_a_misspelled_folder_is_suggested(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_images(["empti", "unlike", "\0"], NOTHING) == ["empti", "unlike", "\0"]
    assert capsys.readouterr().err == "'empti' does not exist. Did you mean 'empty'?\n"


def test_a_run_directory_is_not_a_folder_of_images(there: Path) -> None:
    (there / "run" / "weights").mkdir(parents=True)
    (there / "run" / "recipe.toml").touch()
    with pytest.raises(UserError, match="'run' is the run directory of a model, not a folder of images"):
        find_images(["a", "run"], NOTHING)
    (there / "run" / "weights").rmdir()
    (there / "run" / "1.jpg").touch()
    assert find_images(["run"], NOTHING) == ["run/1.jpg"]


def test_words_keep_their_order_and_files_are_taken_whatever_they_are_called(there: Path) -> None:
    words = ["b/5.jpeg", "a/notes.txt", "missing.jpg", "b"]
    assert find_images(words, NOTHING) == ["b/5.jpeg", "a/notes.txt", "missing.jpg", "b/5.jpeg"]


def test_patterns(there: Path) -> None:
    assert find_images(["a/*.jpg"], NOTHING) == ["a/1.jpg"]
    assert find_images(["**/*.jp*g"], NOTHING) == ["a/1.jpg", "b/5.jpeg", "b[1].jpg"]
    assert find_images(["b[1].jpg"], NOTHING) == ["b[1].jpg"]  # a file of that very name


@pytest.mark.parametrize("text", ["a/1.jpg\nb/5.jpeg\n", "a/1.jpg\r\nb/5.jpeg", "a/1.jpg\0b/5.jpeg\0"])
def test_a_list_on_stdin(text: str, there: Path) -> None:
    assert find_images(["-"], io.StringIO(text)) == ["a/1.jpg", "b/5.jpeg"]


def test_names_on_stdin_that_are_no_text_and_that_hold_newlines(there: Path) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9.jpg\0two\nlines.jpg\0"), encoding="utf-8")
    assert find_images(["-"], stdin) == [os.fsdecode(b"caf\xe9.jpg"), "two\nlines.jpg"]


def test_a_loop_of_links_ends(there: Path) -> None:
    (there / "b" / "round").symlink_to(there / "b")
    (there / "b" / "other").symlink_to(there / "a")
    found = find_images(["b"], NOTHING)
    assert [Path(path).name for path in found] == ["5.jpeg", "1.jpg", "2.PNG", "3.webp"]


@pytest.mark.parametrize(
    ("word", "shows"), [("empty", "'empty'"), ("x*.jpg", r"'x\*.jpg'"), ("-", "the list on stdin")]
)
def test_nothing_found(word: str, shows: str, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=f"no images in {shows}"):
        find_images([word], NOTHING)
    with contextlib.redirect_stdout(None):
        assert find_images([word, "b/5.jpeg"], NOTHING) == ["b/5.jpeg"]
    assert "no images in" in capsys.readouterr().err


def test_other_files_of_a_folder_are_logged(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/film.mov", "a/deep/film.mov", "a/raw.dng", "a/Thumbs.db"):
        (there / name).touch()
    (there / "a" / "called.jpg").mkdir()
    Image.new("RGB", (8, 8)).save(there / "a" / "without a suffix", "PNG")
    unused = UnusedFiles()
    found = find_images(["a"], NOTHING, unused)
    assert found == ["a/1.jpg", "a/2.PNG", "a/without a suffix", "a/deep/er/3.webp"]
    assert "not used: 2 .mov, 1 .txt, 1 .dng, the folder 'a/called.jpg'" in capsys.readouterr().err
    assert sorted(unused.files) == ["a/deep/film.mov", "a/film.mov", "a/notes.txt", "a/raw.dng"]


def test_a_pipe_that_is_called_like_an_image_is_not_waited_for(there: Path) -> None:
    os.mkfifo(there / "b" / "pipe.jpg")
    os.mkfifo(there / "b" / "pipe")
    assert find_images(["b"], NOTHING) == ["b/5.jpeg", "b/pipe.jpg"]  # whoever reads it will say what it is


@pytest.mark.parametrize("word", ["https://example.org/a.jpg", "s3://bucket/folder"])
def test_a_url_is_refused_with_advice(word: str, there: Path) -> None:
    with pytest.raises(UserError, match="is a URL: download the file"):
        find_images([word], NOTHING)


def test_an_image_on_stdin_is_no_list(there: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    file.seek(0)
    with pytest.raises(UserError, match="stdin has an image, not a list"):
        find_images(["-"], io.TextIOWrapper(file))


def _find_as_nobody(place: str) -> None:
    if os.getuid() == 0:  # root may look everywhere
        os.setgid(65534)
        os.setuid(65534)
    unused = UnusedFiles()
    print(find_images([place], NOTHING, unused), unused.inaccessible)


@pytest.mark.skipif(os.name != "posix", reason="folders are closed in another way")
def test_an_inaccessible_folder_is_recorded(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # which another user can reach, unlike pytest's
    (place / "shut").mkdir()
    (place / "1.jpg").touch()
    place.chmod(0o755)
    (place / "shut").chmod(0)
    process = start(tmp_path / "log", _find_as_nobody, str(place))
    process.join(TIMEOUT_SECONDS)
    shutil.rmtree(place)
    said = (tmp_path / "log").read_text()
    assert process.exitcode == 0, said
    assert f"['{place}/1.jpg'] {{'{place}/shut': 'Permission denied'}}" in said.splitlines()
    assert f"not used: the inaccessible folder '{place}/shut'" in said


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_list_that_is_longer_than_a_block(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_paths, "BLOCK", 67)
    names = [f"{number:0{1 + number % 40}d}.jpg" for number in range(100)]
    stdin = io.TextIOWrapper(io.BytesIO(end.join(map(os.fsencode, names))))
    assert find_images(["-"], stdin) == names


def test_many_other_files_are_counted_and_not_named(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_paths, "MOST_NAMES", 3)
    for number in range(20):
        (there / "a" / f"{number:02d}.txt").touch()
        (there / "a" / f"{number:02d}x.jpg").touch()
    unused = UnusedFiles()
    assert len(find_images(["a"], NOTHING, unused)) == 23
    assert "not used: 21 .txt" in capsys.readouterr().err
    assert len(unused.files) <= 4
