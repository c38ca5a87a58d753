"""Exported segmenters and YOLOv3 detectors predict what the checkpoint does.

The segmenter has an input of any size. The detector has one size here and is an ONNX file, which both runtimes read. With
RESNETS_EVERY_SIZE (`make soak`) it has any size, which takes a minute, since torch reasons about the sizes of all its padded
maps, and is a file of OpenVINO, too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import exported_files
from tests.exported_files import CLASSES
from tests.in_soak import IN_SOAK
from tests.made_once import made_once
from tests.tiny_checkpoint import colored_images

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.export import graph
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection

OF_DETECTOR = Preprocess(size=(96, 96), resize="fit" if IN_SOAK else "pad", resize_to=None)
IMAGES = colored_images(4)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    settings, _ = detectors.get("yolov3_light_tiny")
    config = dataclasses.replace(settings, neck_channels=16, anchors=tuple(float(side) for side in range(8, 26)))
    task = Detection(CLASSES, DetectionConfig(**dataclasses.asdict(config)))
    model = task.build(zoo.get_spec("tiny"))
    for name, parameter in model.named_parameters():  # a fresh detector finds nothing
        if name.endswith("prediction.weight"):
            parameter.data *= 30
        elif name.endswith("prediction.bias"):
            parameter.data.fill_(2)
    return exported_files.save(tmp_path_factory.mktemp("yolo") / "model.safetensors", task, model, OF_DETECTOR)


def exported_yolo(checkpoint: Path, to: str) -> Path:
    """The file, which is made once for all processes; not to be changed."""

    def write(folder: Path) -> Path:
        exported_files.traced(checkpoint).write(to, folder / exported_files.NAMES[to])
        return folder / exported_files.NAMES[to]

    return made_once(f"exported yolo {to}", write)


RUNTIMES = [("onnx", "onnxruntime"), ("onnx", "openvino"), *([("openvino", "openvino")] if IN_SOAK else [])]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_masks_are_those_of_the_checkpoint(backend: str) -> None:
    expected = resnets.load(exported_files.segmenter_file(), "cpu", precision="fp32").predict(IMAGES)
    found = resnets.load(exported_files.exported_segmenter(), backend=backend).predict(IMAGES, batch=2)
    for one, other, image in zip(found, expected, IMAGES, strict=True):
        assert one.mask.shape == other.mask.shape == image.shape[:2]
        assert np.mean(one.mask == other.mask) >= 0.999
    assert len({label for each in expected for label in np.unique(each.mask)}) > 1


@pytest.mark.parametrize(("to", "backend"), RUNTIMES)
def test_the_boxes_are_those_of_the_checkpoint(yolo: Path, to: str, backend: str) -> None:
    expected = resnets.load(yolo, "cpu", precision="fp32").predict(IMAGES)
    found = resnets.load(exported_yolo(yolo, to), backend=backend).predict(IMAGES, batch=2)
    for one, other in zip(found, expected, strict=True):
        assert [each.label for each in one.objects] == [each.label for each in other.objects]
        assert other.objects
        for a, b in zip(one.objects, other.objects, strict=True):
            assert np.abs(np.subtract(a.box, b.box)).max() < 0.1  # pixels
            assert a.score == pytest.approx(b.score, abs=1e-4)


def test_a_two_stage_detector_is_refused_in_one_line() -> None:
    settings, _ = detectors.get("fasterrcnn_light_tiny")
    task = Detection(CLASSES, DetectionConfig(**dataclasses.asdict(settings)))
    with pytest.raises(UserError, match="not exported yet; YOLOv3 is"):
        graph.build(task, task.build(zoo.get_spec("tiny")).eval(), OF_DETECTOR, "normalize")
