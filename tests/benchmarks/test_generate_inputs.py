"""The inputs of a job are generated, and generated once."""

from __future__ import annotations

import jobs
import pytest

import resnets


def test_a_job_prepares_its_images_and_weights(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "WORK", tmp_path)
    memory = jobs.jobs(tiny=True, flowers=None)["memory"]
    memory.prepare()
    weights = tmp_path / "tiny.safetensors"
    assert len(resnets.load(weights).class_names) == 10
    assert len(list((tmp_path / "small-40").rglob("*.png"))) == 40
    before = weights.stat().st_mtime_ns
    memory.prepare()
    assert weights.stat().st_mtime_ns == before
