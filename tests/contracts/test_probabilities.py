"""`resnets predict` gives the probabilities that the original library gives for the same files with its own preprocessing.

PNG files to 1e-5. A large JPEG is decoded at a smaller scale, which moves the input a little: what that does to a
probability is measured, printed, and bounded as docs/weights.md states.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from tests.in_soak import only_in_soak
from torch import nn

from resnets.cli import main
from resnets.weights.hub import imagenet_classes


def photograph(height: int, width: int, seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    soft = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return Image.fromarray((soft + random.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Images of several shapes, as PNG and as large JPEGs."""
    folder = tmp_path_factory.mktemp("files")
    made: dict[str, list[Path]] = {"png": [], "jpg": []}
    for number, (height, width) in enumerate([(300, 400), (224, 224), (500, 260), (97, 640)]):
        made["png"].append(folder / f"{number}.png")
        photograph(height, width, number).save(made["png"][-1])
    for number, (height, width) in enumerate([(1200, 1600), (2000, 1500), (3000, 4000)]):
        made["jpg"].append(folder / f"{number}.jpg")
        photograph(height, width, number).save(made["jpg"][-1], quality=90)
    return made


def converted(path: Path, out: Path) -> Path:
    assert main.main(["weights", "convert", str(path), "--to", "resnets", "--out", str(out)]) == 0
    return out


def predicted(checkpoint: Path, paths: list[Path], capsys: pytest.CaptureFixture[str]) -> np.ndarray:
    """What the command says, as (N, 1000)."""
    words = ["predict", str(checkpoint), *map(str, paths), "--jsonl", "-", "--top-k", "1000", "--precision", "fp32"]
    assert main.main(words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = {name: number for number, name in enumerate(_names(checkpoint))}
    found = np.zeros((len(rows), 1000))
    for row, each in zip(found, rows, strict=True):
        for answer in each["top"]:
            row[names[answer["label"]]] = answer["probability"]
    return found


def _names(checkpoint: Path) -> tuple[str, ...]:
    from resnets.weights import checkpoint as checkpoints

    names = checkpoints.read(checkpoint).class_names
    assert len(names) == len(imagenet_classes.NAMES)
    return names


def lively(net: nn.Module) -> nn.Module:
    """Random weights whose probabilities depend strongly on the image, as those of a trained network do."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.3, 0.9, generator=generator)
                module.bias.uniform_(-0.2, 0.2, generator=generator)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.6, generator=generator)
    return net.eval()


def softmax(logits: Any) -> np.ndarray:
    return torch.as_tensor(logits).double().softmax(1).numpy()


@pytest.fixture(scope="module")
def of_torchvision(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    folder = tmp_path_factory.mktemp("torchvision")
    torch.manual_seed(0)
    net = lively(torchvision.models.resnet18(weights=None))
    torch.save(net.state_dict(), folder / "net.pth")
    assert (
        main.main(
            ["weights", "convert", str(folder / "net.pth"), "--to", "resnets", "--out", str(folder / "net.safetensors")]
        )
        == 0
    )
    return net, folder / "net.safetensors"


def of_its_own_transforms(net: nn.Module, paths: list[Path]) -> np.ndarray:
    transforms = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        return softmax(net(torch.stack([transforms(Image.open(path).convert("RGB")) for path in paths])))


def test_torchvision_png(of_torchvision, files, capsys):
    net, checkpoint = of_torchvision
    wanted = of_its_own_transforms(net, files["png"])
    assert wanted.max() > 0.05  # nothing that a constant could reach
    assert np.ptp(wanted, axis=0).max() > 1e-3
    assert np.abs(predicted(checkpoint, files["png"], capsys) - wanted).max() < 1e-5


def test_torchvision_scaled_jpeg(of_torchvision, files, capsys):
    net, checkpoint = of_torchvision
    text = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    stated = float(re.search(r"changed a probability by at most (\d\.\d+) in this test", text)[1])
    wanted = of_its_own_transforms(net, files["jpg"])
    off = np.abs(predicted(checkpoint, files["jpg"], capsys) - wanted).max()
    print(f"scaled decoding moves a probability by at most {off:.5f}")
    assert 0 < off < stated


# The images of ResNet50 are compared in tests/data/image/test_preprocess.py, its logits in test_keras.py.
@pytest.mark.parametrize(
    ("function", "module"),
    [
        pytest.param("ResNet50", keras.applications.resnet, marks=only_in_soak("8 s"), id="caffe"),
        pytest.param("ResNet50V2", keras.applications.resnet_v2, id="tf"),
    ],
)
def test_keras_png(function, module, files, tmp_path, capsys):
    """Both resize with Pillow here: what is compared is the order of colors, the range and the network."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, function)(weights=None)
    random = np.random.default_rng(0)
    head = model.get_layer("predictions")
    head.set_weights(
        [random.normal(0, 0.5 if function == "ResNet50" else 1.5, each.shape) for each in head.get_weights()]
    )
    model.save_weights(tmp_path / "net.weights.h5")
    out = converted(tmp_path / "net.weights.h5", tmp_path / "net.safetensors")
    capsys.readouterr()
    images = [Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR) for path in files["png"]]
    batch = module.preprocess_input(np.stack([np.asarray(each) for each in images]).astype("float32"))
    wanted = keras.ops.convert_to_numpy(model(batch, training=False))
    assert np.ptp(wanted, axis=0).max() > 1e-3
    assert np.abs(predicted(out, files["png"], capsys) - wanted).max() < 1e-5


def test_a_jpeg_of_ordinary_size_is_not_scaled(of_torchvision, tmp_path, capsys):
    net, checkpoint = of_torchvision
    file = io.BytesIO()
    photograph(400, 500, 7).save(file, "JPEG", quality=90)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    wanted = of_its_own_transforms(net, [tmp_path / "a.jpg"])
    assert np.abs(predicted(checkpoint, [tmp_path / "a.jpg"], capsys) - wanted).max() < 1e-5
