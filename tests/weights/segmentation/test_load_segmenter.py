"""Files of torchvision's and smp's segmenters: converted, compared with the library's own network, and converted back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.data.object_datasets.object_images import save_image
from tests.in_soak import IN_SOAK
from tests.weights.segmentation.library_files import smp_file, torchvision_file

import resnets
from resnets.cli.main import main
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights.segmentation import smp
from resnets.weights.segmentation.checkpoint import network

# smp's others are converted both ways in models/segmentation/test_parity.py, with equal logits.
ARCHITECTURES = ["torchvision", *smp.CLASSES] if IN_SOAK else ["torchvision", "pspnet"]


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unet") / "net.pth"
    smp_file(path, "unet")
    return path


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_is_converted_and_back_and_agrees_with_the_library(architecture: str, tmp_path: Path) -> None:
    file, converted, back = tmp_path / "net.pth", tmp_path / "net.safetensors", tmp_path / "back.pth"
    if architecture == "torchvision":
        torchvision_file(file, "fcn_resnet50", aux_loss=True)
    else:
        smp_file(file, architecture)
    resnets.convert(file, to="resnets", out=converted, class_names=("sky", "road", "car"))
    checkpoint = checkpoints.read(converted, task="segmentation")
    assert (checkpoint.class_names, checkpoint.provenance["converted_from"]) == (("sky", "road", "car"), "net.pth")
    # Images of smp's are not resized, since nothing is known of them: a small one must not become a large one.
    assert checkpoint.preprocess.resize == ("fit" if architecture == "torchvision" else "none")
    image = save_image(tmp_path / "image.png", 60, 40)
    found = resnets.verify(file, converted, imgsz=64, images=[image])
    libraries = ["torchvision" if architecture == "torchvision" else "segmentation_models_pytorch", "resnets"]
    assert [each.second.partition(" by ")[2].split()[0] for each in found.comparisons] == libraries
    assert found.equal
    assert all(each.agreement == 1 and each.unit == "pixels" for each in found.comparisons)
    resnets.convert(converted, to="torchvision" if architecture == "torchvision" else "smp", out=back)
    original, written = torch.load(file), torch.load(back)
    assert original.keys() == written.keys()
    assert all(torch.equal(tensor, written[key]) for key, tensor in original.items())


def test_what_a_file_does_not_show_is_given(tmp_path: Path) -> None:
    theirs = smp_file(tmp_path / "net.pth", "deeplabv3plus", encoder_output_stride=8, decoder_atrous_rates=(1, 2, 3))
    out = tmp_path / "net.safetensors"
    result = resnets.convert(tmp_path / "net.pth", to="resnets", out=out)
    assert any(
        "assumed: encoder_output_stride=16 and decoder_atrous_rates=(12, 24, 36)" in note for note in result.notes
    )
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(network(checkpoints.read(out, task=None))(x), theirs(x), atol=1e-3)
        given = {"output_stride": 8, "atrous_rates": (1, 2, 3)}
        resnets.convert(tmp_path / "net.pth", to="resnets", out=out, settings=given)
        torch.testing.assert_close(network(checkpoints.read(out, task=None))(x), theirs(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="A segmenter has no setting 'stem'"):
        resnets.convert(tmp_path / "net.pth", to="resnets", out=out, settings={"stem": "cifar"})
    with pytest.raises(UserError, match="has no effect"):
        resnets.convert(tmp_path / "net.pth", to="resnets", out=out, settings={"unet_channels": (1, 2, 3, 4, 5)})


def test_the_names_of_old_versions_of_smp(tmp_path: Path) -> None:
    """Before version 0.4, DeepLabV3's decoder was an nn.Sequential, whose names smp translates as we do."""
    net = smp_file(tmp_path / "net.pth", "deeplabv3")
    old = {new: old for old, new in smp.RENAMED.items()}
    tensors = {}
    for key, tensor in net.state_dict().items():
        start = next((start for start in old if key.startswith(start)), "")
        tensors[old.get(start, "") + key.removeprefix(start)] = tensor
    assert sum(key.startswith(("decoder.0.", "decoder.1.", "decoder.2.")) for key in tensors) > 30
    torch.save(tensors, tmp_path / "old.pth")
    for name in ("net", "old"):
        resnets.convert(tmp_path / f"{name}.pth", to="resnets", out=tmp_path / f"{name}.safetensors")
    new, converted = (checkpoints.read(tmp_path / f"{name}.safetensors", task=None).tensors for name in ("net", "old"))
    assert new.keys() == converted.keys()
    assert all(torch.equal(tensor, converted[key]) for key, tensor in new.items())
    net.load_state_dict(dict(tensors))  # changes its argument


def test_the_commands(unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, back = tmp_path / "net.safetensors", tmp_path / "back.pth"
    assert main(["weights", "convert", str(unet), "--to", "resnets", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "segmentation_models_pytorch, unet on resnet18" in said
    assert "class names: 'class 0', 'class 1', 'class 2'; --class-names gives others" in said
    assert main(["weights", "convert", str(out), "--to", "smp", "--out", str(back)]) == 0
    assert "Unet(encoder_name='resnet18', encoder_weights=None, in_channels=3, " in capsys.readouterr().out
    assert main(["weights", "inspect", str(out)]) == 0
    assert "a segmenter, unet, on this network" in capsys.readouterr().out
    model = resnets.create_model("unet_resnet18", weights=out, num_classes=7, in_channels=1)
    assert model(torch.zeros(1, 1, 31, 33)).shape == (1, 7, 31, 33)
    assert "new, untrained layers for 7 classes: head" in capsys.readouterr().err
    with pytest.raises(UserError, match="another segmenter than 'fcn_resnet18': architecture=unet"):
        resnets.create_model("fcn_resnet18", weights=out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": "timm"}, "A segmenter is converted to resnets, torchvision or smp; received 'timm'"),
        ({"to": "torchvision"}, "torchvision has no function for a unet with these settings on 'resnet18'"),
        ({"to": "resnets", "num_classes": 4}, r"is a segmenter, on which `num_classes` has no effect"),
        ({"to": "resnets", "class_names": ("a",)}, "1 class names do not fit a segmenter of 3 classes"),
    ],
)
def test_conversions_that_do_not_fit(arguments: dict[str, object], said: str, unet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        resnets.convert(unet, out=tmp_path / "new.pth", **arguments)


def test_what_cannot_be_compared_or_converted(unet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net\.pth' is a segmenter, 'cifar_resnet20\.cifar10' is none"):
        resnets.verify(unet, "cifar_resnet20.cifar10")
    with pytest.raises(UserError, match="A segmenter is converted to smp"):
        resnets.convert("cifar_resnet20.cifar10", to="smp", out=tmp_path / "new.pth")
