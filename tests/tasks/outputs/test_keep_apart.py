"""Outputs among the images that are read are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.tasks.outputs import keep_apart


@pytest.mark.parametrize("out", ["photos", "photos/new", "photos/../photos/new", "link/new", "."])
def test_a_folder_among_the_images_is_refused(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    with pytest.raises(UserError, match=f"`draw={out}` would put files among the images that are read"):
        list(keep_apart.checked("draw", out, ["photos"], ["photos/cat/1.jpg"]))


def test_an_image_in_the_folder_is_found_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = keep_apart.checked("draw", "drawn", ["-"], ["a/1.jpg", "a/2.jpg", "drawn/3.jpg"])
    assert [next(images), next(images)] == ["a/1.jpg", "a/2.jpg"]
    with pytest.raises(UserError, match="among the images"):
        next(images)


def test_other_folders_are_accepted_and_the_images_are_unchanged(tmp_path: Path) -> None:
    images = [f"{tmp_path}/photos/{number}.jpg" for number in range(3)]
    assert list(keep_apart.checked("draw", tmp_path / "photos-drawn", [f"{tmp_path}/photos"], iter(images))) == images
