"""The settings of a job in its folder, and what differs from those of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.tasks.predict_parts import job_settings
from resnets.tasks.predict_parts.image_list import Part

SETTINGS = {"model_sha256": "a" * 64, "images": 12, "options": {"top_k": 2}, "precision": "fp32"}


def test_settings_are_read_back(tmp_path: Path) -> None:
    assert job_settings.read(tmp_path) is None
    assert job_settings.read(tmp_path / "new") is None
    assert job_settings.begin(tmp_path, SETTINGS) == job_settings.read(tmp_path) == SETTINGS
    job_settings.check_same(tmp_path, SETTINGS, SETTINGS)
    # Of two processes that begin at the same moment, the second one finds the settings of the first.
    assert job_settings.begin(tmp_path, SETTINGS | {"images": 13}) == SETTINGS


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_damaged_settings_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / job_settings.FILE).write_bytes(content)
    with pytest.raises(UserError, match="it is damaged"):
        job_settings.read(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_sha256": "b" * 64}, "the SHA-256 of the model is bbbbbbbb…, and was aaaaaaaa…"),
        (
            {"images": 15, "precision": "bf16"},
            "the number of images is 15, and was 12; `precision` is bf16, and was fp32",
        ),
        ({"options": {"top_k": 3}}, "`top_k` is 3, and was 2"),
        ({"options": {}}, "`top_k` is null, and was 2"),
    ],
)
def test_what_differs_is_said(changed: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the parts of another job") as caught:
        job_settings.check_same(tmp_path, SETTINGS, SETTINGS | changed)
    assert said in str(caught.value)


def test_the_name_of_a_part_depends_on_all_that_decides_its_bytes() -> None:
    parts = [Part(number, 0, 9, sha256) for number in (0, 1) for sha256 in ("a", "b")]
    names = {
        job_settings.part_name(part, settings)
        for part in parts
        for settings in (SETTINGS, SETTINGS | {"precision": "bf16"})
    }
    assert len(names) == 8
    reordered = dict(reversed(SETTINGS.items()))
    assert job_settings.part_name(parts[0], SETTINGS) == job_settings.part_name(parts[0], reordered)
