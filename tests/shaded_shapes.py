"""1,200 generated shapes on dark and on light backgrounds, and a `tiny` network that tells the two apart, once for a test run."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from tests.made_once import made_once
from torch import Tensor, nn

from resnets.data.datasets import generate_shapes
from resnets.data.image.preprocess import Preprocess
from resnets.export.quantization.quantize import QuantizeResult, quantize
from resnets.inference.benchmark import calibrate_batch_norms_
from resnets.models import zoo
from resnets.models.resnet import PooledBackbone
from resnets.tasks.classification.task import Classification
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

CLASSES = ("dark", "light")
SIDE = 32
NUM_TRAIN, NUM_TEST = 300, 900
MAX_DROP = 1.5  # points: so many images prove no less
NUM_CALIBRATION = 20
FAST_ENOUGH = 1e-6  # a `min_gain` that every machine reaches


@functools.cache
def folder() -> Path:
    """A folder with train/ and test/; not to be changed."""
    return made_once("shaded shapes", _write_images)


def _write_images(root: Path) -> Path:
    settings = generate_shapes.make_settings(size=SIDE, count=NUM_TRAIN + NUM_TEST)
    for index in range(NUM_TRAIN + NUM_TEST):
        pixels = generate_shapes.draw(index, settings).pixels
        name = CLASSES[int(pixels[:3, :3].mean() > 128)]
        path = root / ("train" if index < NUM_TRAIN else "test") / name / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)
    return root


@functools.cache
def checkpoint_file() -> Path:
    """The checkpoint: random convolutions, and a last layer that was fitted to the train images; not to be changed."""
    return made_once("shaded shapes checkpoint", _write_checkpoint)


def _write_checkpoint(root: Path) -> Path:
    preprocess = Preprocess.plain(SIDE, (0.5,) * 3, (0.25,) * 3)
    files = sorted(folder().glob("train/*/*.png"))
    images = torch.stack([preprocess.load(file) for file in files])
    targets = torch.tensor([CLASSES.index(file.parent.name) for file in files])
    task = Classification(CLASSES)
    spec = replace(zoo.get_spec("tiny"), num_classes=len(CLASSES))
    torch.manual_seed(0)
    net = calibrate_batch_norms_(task.build(spec).eval(), images[::3])
    with torch.no_grad():
        _fit_last_layer(
            next(each for each in net.head.modules() if isinstance(each, nn.Linear)),
            PooledBackbone(net)(images),
            targets,
        )
    path = root / "model.safetensors"
    content = Checkpoint(
        spec, preprocess, task.class_names, net.state_dict(), task=task.name, fitted=task.fitted, metrics={}, provenance={}
    )  # fmt: skip
    checkpoints.save(path, content)
    return path


def _fit_last_layer(layer: nn.Linear, features: Tensor, targets: Tensor) -> None:
    """By least squares, in the direction of which the two classes differ most."""
    rows = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    signs = (2.0 * targets - 1).double()
    solution = torch.linalg.solve(rows.T @ rows + 1e-3 * torch.eye(rows.shape[1]), rows.T @ signs)
    layer.weight.copy_(torch.stack([-solution[:-1], solution[:-1]]))
    layer.bias.copy_(torch.stack([-solution[-1], solution[-1]]))


@functools.cache
def quantized() -> QuantizeResult:
    """The int8 file beside the checkpoint; not to be changed."""
    return made_once("shaded shapes int8", _quantize)


def _quantize(_: Path) -> QuantizeResult:
    return quantize(
        checkpoint_file(), folder(), validation=None, to="openvino", max_drop=MAX_DROP, min_gain=FAST_ENOUGH,
        count=NUM_CALIBRATION, seed=0, out=None,
    )  # fmt: skip
