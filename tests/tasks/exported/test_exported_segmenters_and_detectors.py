"""Exported segmenters and YOLOv3 detectors predict what the checkpoint does.

The segmenter has an input of any size. The detector has one size here and is an ONNX file, which both runtimes read. With
RESNETS_EVERY_SIZE (`make soak`) it has any size, which takes a minute, since torch reasons about the sizes of all its padded
maps, and is a file of OpenVINO, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import exported_files
from tests.in_soak import IN_SOAK
from tests.made_once import made_once
from tests.tiny_checkpoint import colored_images
from torch import nn

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.export import graph
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.tasks.base import Task
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = ("cat", "dog", "owl")
ANY_SIZE = Preprocess(size=(96, 96), resize="fit", resize_to=None)
OF_DETECTOR = ANY_SIZE if IN_SOAK else Preprocess(size=(96, 96), resize="pad")
IMAGES = colored_images(4)


def save(path: Path, task: Task, model: nn.Module, preprocess: Preprocess) -> Path:
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # which the export folds
            module.running_mean.normal_(0, 0.1, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
    config = {key: value for key, value in vars(task.config).items() if key != "name"}
    spec = zoo.get_spec("tiny")
    checkpoints.save(path, Checkpoint(spec, preprocess, NAMES, model.state_dict(), task=task.name, config=config))
    return path


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    task = Segmentation(NAMES, SegmentationConfig(decoder_channels=16))
    model = task.build(zoo.get_spec("tiny"))
    return save(tmp_path_factory.mktemp("segmenter") / "model.safetensors", task, model, ANY_SIZE)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    settings, _ = detectors.get("yolov3_light_tiny")
    config = dataclasses.replace(settings, neck_channels=16, anchors=tuple(float(side) for side in range(8, 26)))
    task = Detection(NAMES, DetectionConfig(**dataclasses.asdict(config)))
    model = task.build(zoo.get_spec("tiny"))
    for name, parameter in model.named_parameters():  # a fresh detector finds nothing
        if name.endswith("prediction.weight"):
            parameter.data *= 30
        elif name.endswith("prediction.bias"):
            parameter.data.fill_(2)
    return save(tmp_path_factory.mktemp("yolo") / "model.safetensors", task, model, OF_DETECTOR)


@pytest.fixture(scope="module")
def exported(segmenter: Path, yolo: Path) -> Callable[[str, str], Path]:
    """Give a function from checkpoint and format to the file, which is made once for all processes; not to be changed."""
    checkpoint_files = {"segmenter": segmenter, "yolo": yolo}

    def find(name: str, to: str) -> Path:
        def write(folder: Path) -> Path:
            exported_files.traced(checkpoint_files[name]).write(to, folder / exported_files.NAMES[to])
            return folder / exported_files.NAMES[to]

        return made_once(f"exported {name} {to}", write)

    return find


RUNTIMES = [("onnx", "onnxruntime"), ("onnx", "openvino"), *([("openvino", "openvino")] if IN_SOAK else [])]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_masks_are_those_of_the_checkpoint(segmenter: Path, exported, backend: str) -> None:
    expected = resnets.load(segmenter, "cpu", precision="fp32").predict(IMAGES)
    found = resnets.load(exported("segmenter", "onnx"), backend=backend).predict(IMAGES, batch=2)
    for one, other, image in zip(found, expected, IMAGES, strict=True):
        assert one.mask.shape == other.mask.shape == image.shape[:2]
        assert np.mean(one.mask == other.mask) >= 0.999
    assert len({label for each in expected for label in np.unique(each.mask)}) > 1


@pytest.mark.parametrize(("to", "backend"), RUNTIMES)
def test_the_boxes_are_those_of_the_checkpoint(yolo: Path, exported, to: str, backend: str) -> None:
    expected = resnets.load(yolo, "cpu", precision="fp32").predict(IMAGES)
    found = resnets.load(exported("yolo", to), backend=backend).predict(IMAGES, batch=2)
    for one, other in zip(found, expected, strict=True):
        assert [each.label for each in one.objects] == [each.label for each in other.objects]
        assert other.objects
        for a, b in zip(one.objects, other.objects, strict=True):
            assert np.abs(np.subtract(a.box, b.box)).max() < 0.1  # pixels
            assert a.score == pytest.approx(b.score, abs=1e-4)


def test_a_two_stage_detector_is_refused_in_one_line() -> None:
    settings, _ = detectors.get("fasterrcnn_light_tiny")
    task = Detection(NAMES, DetectionConfig(**dataclasses.asdict(settings)))
    with pytest.raises(UserError, match="not exported yet; YOLOv3 is"):
        graph.build(task, task.build(zoo.get_spec("tiny")).eval(), OF_DETECTOR, "normalize")
