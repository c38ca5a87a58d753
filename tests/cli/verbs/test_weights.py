"""`resnets weights`, as a person types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from resnets.cli import main
from resnets.weights import checkpoint as checkpoints


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), path)
    return path


def run(*words: str | Path) -> int:
    return main.main(["weights", *map(str, words)])


def test_inspect(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "cifar_resnet20.cifar10") == 0
    assert "metrics:  top-1 91.68%" in capsys.readouterr().out
    assert run("inspect", file) == 0
    shown = capsys.readouterr().out
    for words in ("torchvision (pickle)", "resnet18", "because:", "assumed:"):
        assert words in shown


def test_convert_and_verify(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"), "utf-8-sig")  # as an editor of Windows saves it
    out = tmp_path / "o.safetensors"
    assert run("convert", file, "--to", "resnets", "--out", out, "--class-names", tmp_path / "names.txt") == 0
    assert "each used once" in capsys.readouterr().out
    assert checkpoints.read(out).class_names == tuple("abcdefg")
    assert run("verify", file, out, "--imgsz", "64") == 0
    printed = capsys.readouterr().out
    assert "top-1 agrees on 100.00% of 8 images" in printed
    assert "the 8 images were generated; --images compares on yours" in printed
    assert printed.splitlines()[-1].startswith(
        "equal within the tolerance: the largest difference of a probability is "
    )
    state = torch.load(file, weights_only=True)
    state["conv1.weight"] *= 2
    torch.save(state, tmp_path / "other.pth")
    assert run("verify", file, tmp_path / "other.pth", "--imgsz", "64") == 1
    printed = capsys.readouterr().out
    assert "the bound is 0.0001" in printed
    assert printed.splitlines()[-1].startswith("different beyond the tolerance: ")
    assert run("verify", file, tmp_path / "other.pth", "--imgsz", "64", "--tolerance", "1e9") == 0


def test_a_doubt_ends_with_2_and_a_setting_resolves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.resnet50(num_classes=2).state_dict(), tmp_path / "r.pth")
    words = ("convert", tmp_path / "r.pth", "--to", "resnets", "--out", tmp_path / "o.safetensors")
    assert run(*words) == 2
    error = capsys.readouterr().err
    typed = f"resnets weights convert {tmp_path / 'r.pth'} --to resnets --out {tmp_path / 'o.safetensors'} --model"
    assert f"{typed} resnet50 (V1.5, as in torchvision and timm" in error
    assert f"{typed} resnet50_v1 (V1" in error
    assert error.count("\n") == 1
    assert run(*words, "--set", "stride_at=1x1") == 0
    assert checkpoints.read(tmp_path / "o.safetensors").spec.name == "resnet50_v1"


def test_a_file_of_another_library_is_pointed_to_convert(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["predict", str(file), str(tmp_path)]) == 2
    assert f"resnets weights convert {file} --to resnets" in capsys.readouterr().err
    assert run("convert", file, "--to", "timm", "--out", tmp_path / "t.safetensors") == 0
    assert main.main(["predict", str(tmp_path / "t.safetensors"), str(tmp_path)]) == 2
    assert "resnets weights convert" in capsys.readouterr().err
    assert run("convert", file, "--to", "resnets", "--out", "x", "--class-names", tmp_path / "none.txt") == 2
    assert "not a text file of class names" in capsys.readouterr().err


def test_a_file_without_names_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Output 2 of ImageFolder is the class "10" of the folders 0 to 11, not "2"."""
    net = torchvision.models.resnet18(num_classes=12)
    torch.nn.init.zeros_(net.fc.weight)
    net.fc.bias.data = torch.arange(12.0).eq(2) * 9.0
    torch.save(net.state_dict(), tmp_path / "r.pth")
    for number in range(12):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "data" / str(number) / "a.png")
    plain, named, images = tmp_path / "plain.safetensors", tmp_path / "named.safetensors", str(tmp_path / "data")
    assert run("convert", tmp_path / "r.pth", "--to", "resnets", "--out", plain) == 0
    assert "the file has none for its 12 outputs; --class-names gives them" in capsys.readouterr().out
    assert main.main(["predict", str(plain), f"{images}/3/a.png"]) == 0
    assert "output 2" in capsys.readouterr().out
    assert main.main(["evaluate", str(plain), images]) == 2
    assert f"resnets weights convert {plain} --to resnets" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("\n".join(sorted(map(str, range(12)))))
    words = ("--to", "resnets", "--out", named, "--class-names", tmp_path / "names.txt")
    assert run("convert", tmp_path / "r.pth", *words) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("class names")] == [
        "class names: the 12 of --class-names"
    ]
    assert run("convert", plain, "--to", "resnets", "--out", named, "--class-names", tmp_path / "names.txt") == 0
    assert main.main(["predict", str(named), f"{images}/3/a.png"]) == 0
    assert " 10 " in capsys.readouterr().out
    assert checkpoints.read(named).class_names[2] == "10"


@pytest.mark.parametrize(("name", "content", "message"), [
    ("m.onnx", b"\x08\x07\x12\x07pytorch", "a .onnx file"), ("m.tflite", b"\x1c\x00\x00\x00TFL3", "a .tflite file"),
    ("m.npy", b"\x93NUMPY\x01\x00", "a .npy of numpy"),
])  # fmt: skip
def test_files_of_other_kinds_are_named(
    name: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content + bytes(100))
    assert run("inspect", tmp_path / name) == 2
    assert f"is {message}, which resnets does not read" in capsys.readouterr().err


def test_an_npz_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    assert run("inspect", tmp_path / "a.npz") == 2
    assert "is a .npz of numpy" in capsys.readouterr().err
