"""The inputs of a job are generated, and generated once."""

from __future__ import annotations

import generate_inputs
import jobs
import numpy as np
import pytest
from PIL import Image

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


def test_label_masks_show_the_objects_of_their_images(tmp_path):
    generate_inputs.label_masks(tmp_path, "train", 3)
    for path in sorted((tmp_path / "train" / "masks").iterdir()):
        mask = np.asarray(Image.open(path))
        pixels = np.asarray(Image.open(tmp_path / "train" / "images" / f"{path.stem}.jpg")).astype(float)
        assert pixels.shape[:2] == mask.shape
        assert mask.max() > 0
        for kind in set(mask.flatten()) - {0}:
            color = list(generate_inputs.COLORS.values())[kind - 1]
            assert np.abs(pixels[mask == kind].mean(0) - color).max() < 60
