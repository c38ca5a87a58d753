"""The masks of a large image are made one by one, and kept as run lengths."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.forked_processes import TIMEOUT_SECONDS, start

from resnets.data.image.preprocess import Preprocess
from resnets.models.detection.output import DetectorOutput
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.draw_objects import draw
from resnets.tasks.detection.task import Detection
from resnets.tasks.detection.write_predictions import mask_images

HEIGHT, WIDTH, COUNT = 3000, 4000, 100
MANY = 30  # of them: as arrays, their masks would take 340 MiB together
LIMIT_MIB = 300


def _memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def _predict_in_memory(folder: Path) -> int:
    """The outputs of a Mask R-CNN for an image of 12 megapixels as a prediction, which is drawn and written; 1 if that takes too
    much memory.
    """
    generator = torch.Generator().manual_seed(0)
    placement = Preprocess(size=(640, 640), resize="fit", resize_to=None).placement(HEIGHT, WIDTH)
    corners = torch.rand(COUNT, 2, generator=generator) * torch.tensor([600.0, 440.0])
    boxes = torch.cat([corners, corners + 5 + 35 * torch.rand(COUNT, 2, generator=generator)], dim=1)
    boxes[:3] = torch.tensor([0.0, 0.0, 640.0, 480.0])
    blobs = torch.rand(COUNT, 1, 4, 4, generator=generator)
    masks = torch.nn.functional.interpolate(blobs, size=28, mode="bilinear")[:, 0]
    objects = {"boxes": boxes, "scores": torch.linspace(0.9, 0.5, COUNT), "labels": torch.arange(COUNT) % 2}
    task = Detection(("cat", "dog"), DetectionConfig(architecture="maskrcnn"), {"score_threshold": 0.3})
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _memory_mib("VmRSS")
    found = task.predict("a.jpg", DetectorOutput({}, [{**objects, "masks": masks}]), placement)
    with mask_images(str(folder), task.class_names) as write:
        write(replace(found, objects=found.objects[:MANY]))
    some = found.objects[:5]
    boxes, rles = np.array([each.box for each in some]), [each.rle for each in some]
    drawn = draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), boxes, np.zeros(5, np.int64), task.class_names, None, rles)
    used = _memory_mib("VmHWM") - before
    print(f"{used:.0f} MiB")
    covered = np.asarray(Image.open(next(folder.glob("*.png"))))
    assert len(found.objects) == COUNT
    assert covered.shape == (HEIGHT, WIDTH)
    assert (covered > 0).mean() > 0.5
    assert drawn.any(2).mean() > 0.5
    return int(used > LIMIT_MIB)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_100_masks_of_a_large_image_take_little_memory(tmp_path: Path) -> None:
    process = start(tmp_path / "log", _predict_in_memory, tmp_path / "masks")
    process.join(TIMEOUT_SECONDS)
    process.kill()
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    assert 0 < int((tmp_path / "log").read_text().split()[0]) < LIMIT_MIB
