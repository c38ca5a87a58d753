"""The settings of a job in its folder, and what differs from those of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.tasks.predict_parts import job_settings

SETTINGS = {"model_sha256": "a" * 64, "images": 12, "options": {"top_k": 2}, "precision": "fp32"}


def test_settings_are_read_back(tmp_path: Path) -> None:
    assert job_settings.read(tmp_path) is None
    assert job_settings.read(tmp_path / "new") is None
    job_settings.write(tmp_path, SETTINGS)
    found = job_settings.read(tmp_path)
    assert found == SETTINGS
    job_settings.check_same(tmp_path, found, SETTINGS)


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
    names = {
        job_settings.part_name(number, paths, settings)
        for number in (0, 1)
        for paths in (["a", "b"], ["ab"])
        for settings in (SETTINGS, SETTINGS | {"precision": "bf16"})
    }
    assert len(names) == 8
    assert job_settings.part_name(0, ["a"], SETTINGS) == job_settings.part_name(
        0, ["a"], dict(reversed(SETTINGS.items()))
    )
