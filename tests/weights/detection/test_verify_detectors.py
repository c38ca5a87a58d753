"""`resnets weights verify` of detectors: torchvision's own network, darknet's files, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.object_datasets.object_images import save_image
from tests.in_soak import IN_SOAK
from tests.weights.detection.saved_detector import saved
from torch import nn
from torchvision.models import detection as library
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import resnets
from resnets.cli.main import main
from resnets.errors import UserError
from resnets.models.detection.prefixes import TORCHVISION


def torchvision_file(path: Path, name: str) -> None:
    """torchvision's own detector of two classes with random weights and statistics."""
    with torch.device("meta"):  # its own initialization takes seconds
        net = getattr(library, name)(weights=None, weights_backbone=None, num_classes=3)
    save_random(path, net)


def save_random(path: Path, net: nn.Module) -> None:
    torch.manual_seed(2)
    tensors = net.to_empty(device="cpu").state_dict()
    for key, tensor in tensors.items():
        if key.endswith("running_var"):
            tensor.uniform_(0.8, 1.2)
        elif tensor.is_floating_point():
            tensor.uniform_(-1, 1).mul_((3 / max(tensor[0].numel(), 3)) ** 0.5)
        else:
            tensor.zero_()
    torch.save(tensors, path)


@pytest.mark.parametrize("name", TORCHVISION if IN_SOAK else ["maskrcnn_resnet50_fpn"])
def test_torchvisions_own_network_and_the_converted_file_agree(name: str, tmp_path: Path) -> None:
    file, converted = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torchvision_file(file, name)
    resnets.convert(file, to="resnets", out=converted)
    image = save_image(tmp_path / "image.png", 60, 40)
    found = resnets.verify(file, converted, imgsz=64, images=[image])
    assert [each.second.partition(" by ")[2][:11] for each in found.comparisons] == ["torchvision", "resnets"]
    assert found.equal
    assert all(each.agreement == 1 and each.relative < 1e-5 and each.unit == "regions" for each in found.comparisons)


def test_a_detector_on_another_network_with_frozen_norms(tmp_path: Path) -> None:
    """As torchvision's programs make them: the norms are `FrozenBatchNorm2d` with an eps of 1e-5."""
    with torch.device("meta"):
        net = library.FasterRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), num_classes=3)
    save_random(tmp_path / "net.pth", net)
    notes = resnets.convert(
        tmp_path / "net.pth", to="resnets", out=tmp_path / "net.safetensors", settings={"norm_eps": 1e-5}
    ).notes
    assert any("on resnet18" in note for note in notes)
    assert not any("assumed" in note for note in notes)
    net.load_state_dict(torch.load(tmp_path / "net.pth"), assign=True)
    model = resnets.create_model("fasterrcnn_resnet18", weights=tmp_path / "net.safetensors")
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = list(net.eval().backbone(image).values())[:4]  # of the pyramid that regions are pooled from
        for one, other in zip(model.dense(image)[:4], expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    image_file = save_image(tmp_path / "image.png", 60, 40)
    files = tmp_path / "net.pth", tmp_path / "net.safetensors"
    found = resnets.verify(*files, imgsz=64, images=[image_file], settings={"norm_eps": 0.1})
    assert found.comparisons[0].relative < 1e-5  # torchvision's own network with this eps
    assert not found.equal  # the converted file has another


def test_darknets_files_by_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, cfg, back = (tmp_path / name for name in ("net.safetensors", "net.cfg", "back.safetensors"))
    saved(file, "yolov3_light_tiny")
    assert main(["weights", "convert", str(file), "--to", "darknet", "--out", str(cfg)]) == 0
    assert (tmp_path / "net.names").read_text() == "cat\ndog\nowl\n"
    said = capsys.readouterr().out
    assert "net.weights" in said
    assert "not in net.cfg, which cannot hold it: preprocessing" in said
    assert main(["weights", "verify", str(file), str(cfg), "--imgsz", "64"]) == 0
    numbers = np.fromfile(tmp_path / "net.weights", "<f4")
    numbers[-1] += 1  # of the weight of the last class at the smallest stride
    numbers.tofile(tmp_path / "net.weights")
    assert main(["weights", "verify", str(file), str(cfg), "--imgsz", "64"]) == 1
    assert "beyond the tolerance" in capsys.readouterr().out
    assert main(["weights", "inspect", str(cfg)]) == 0
    assert main(["weights", "inspect", str(file)]) == 0
    assert capsys.readouterr().out.count("a detector, yolov3, on this network") == 2
    resnets.convert(tmp_path / "net.weights", to="resnets", out=back)
    assert resnets.load(back).task.class_names == ("cat", "dog", "owl")
    model = resnets.create_model("yolov3_light_tiny", weights=back)
    assert len(model.anchors.flatten()) == 18


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": "darknet", "out": "net.weights"}, r"ends in \.cfg, beside which"),
        ({"to": "timm", "out": "net.pth"}, "converted to resnets, torchvision or darknet; received 'timm'"),
        ({"to": "resnets", "out": "b.safetensors", "num_classes": 3}, "is a detector, on which `num_classes` has no effect"),
    ],
)  # fmt: skip
def test_conversions_that_do_not_fit(arguments: dict[str, object], said: str, tmp_path: Path) -> None:
    saved(tmp_path / "net.safetensors", "yolov3_light_tiny")
    with pytest.raises(UserError, match=said):
        resnets.convert(tmp_path / "net.safetensors", **{**arguments, "out": tmp_path / str(arguments["out"])})


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors", "yolov3_light_tiny")
    saved(tmp_path / "b.safetensors", "fasterrcnn_light_tiny")
    with pytest.raises(UserError, match="yolov3, 3 classes and fasterrcnn, 3 classes"):
        resnets.verify(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    with pytest.raises(UserError, match=r"a\.safetensors' is a detector, 'cifar_resnet20\.cifar10' is none"):
        resnets.verify(tmp_path / "a.safetensors", "cifar_resnet20.cifar10")
    with pytest.raises(UserError, match="darknet has YOLOv3 only"):
        resnets.convert(tmp_path / "b.safetensors", to="darknet", out=tmp_path / "b.cfg")
    with pytest.raises(UserError, match="YOLOv3 is converted to darknet"):
        resnets.convert("cifar_resnet20.cifar10", to="darknet", out=tmp_path / "b.cfg")
    (tmp_path / "c.weights").write_bytes(b"1234")
    with pytest.raises(UserError, match=r"c\.cfg' cannot be read"):
        resnets.convert(tmp_path / "c.weights", to="resnets", out=tmp_path / "c.safetensors")
    with pytest.raises(UserError, match="Convert it: resnets weights convert"):
        resnets.load(tmp_path / "c.weights")
