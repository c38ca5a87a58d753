"""The settings of a job in its folder, and what differs from those of another."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from resnets.errors import JobError, UserError
from resnets.tasks.predict_parts import job_settings

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


def test_other_libraries_and_another_device_are_noticed() -> None:
    versions = job_settings.versions("reference")
    assert set(versions) == {"resnets", "torch", "pillow"}
    settings = {"backend": "reference", "device": "cpu", "versions": versions}
    job_settings.check_computed_alike(settings, "cpu")
    with pytest.raises(JobError, match="`device` is cuda, and was cpu where the job was begun"):
        job_settings.check_computed_alike(settings, "cuda")
    with pytest.raises(JobError, match=r"the version of Pillow is \S+, and was 1\.0 where the job was begun"):
        job_settings.check_computed_alike(settings | {"versions": versions | {"pillow": "1.0"}}, "cpu")


def test_the_version_of_the_runtime_is_a_setting() -> None:
    assert job_settings.versions("onnxruntime")["onnxruntime"] == version("onnxruntime")
