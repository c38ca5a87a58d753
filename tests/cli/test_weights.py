"""`resnets weights`, as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from resnets.cli import app
from resnets.weights import checkpoint as checkpoints


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), path)
    return path


def run(*words: str | Path) -> int:
    return app.main(["weights", *map(str, words)])


def test_inspect(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", file) == 0
    shown = capsys.readouterr().out
    for words in ("torchvision (pickle)", "resnet18", "because:", "assumed:"):
        assert words in shown


def test_convert_and_verify(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("\n".join("abcdefg"))
    out = tmp_path / "o.safetensors"
    assert run("convert", file, "--to", "resnets", "--out", out, "--class-names", tmp_path / "names.txt") == 0
    assert "each used once" in capsys.readouterr().out
    assert checkpoints.read(out).classes == tuple("abcdefg")
    assert run("verify", file, out, "--imgsz", "64") == 0
    assert "top-1 agrees on 100.00% of 8 pictures" in capsys.readouterr().out
    state = torch.load(file, weights_only=True)
    state["conv1.weight"] *= 2
    torch.save(state, tmp_path / "other.pth")
    assert run("verify", file, tmp_path / "other.pth", "--imgsz", "64") == 1
    assert "differ by more than 0.0001" in capsys.readouterr().out
    assert run("verify", file, tmp_path / "other.pth", "--imgsz", "64", "--tolerance", "1e9") == 0


def test_a_doubt_ends_with_2_and_a_setting_resolves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torchvision.models.resnet50(num_classes=2).state_dict(), tmp_path / "r.pth")
    words = ("convert", tmp_path / "r.pth", "--to", "resnets", "--out", tmp_path / "o.safetensors")
    assert run(*words) == 2
    error = capsys.readouterr().err
    typed = f"resnets weights convert {tmp_path / 'r.pth'} --to resnets --out {tmp_path / 'o.safetensors'} --model"
    assert f"{typed} resnet50 (V1.5, which torchvision and timm have today" in error
    assert f"{typed} resnet50_v1 (V1" in error
    assert error.count("\n") == 1
    assert run(*words, "--set", "stride_at=1x1") == 0
    assert checkpoints.read(tmp_path / "o.safetensors").spec.name == "resnet50_v1"


def test_a_file_of_another_library_is_pointed_to_convert(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["predict", str(file), str(tmp_path)]) == 2
    assert f"resnets weights convert '{file}' --to resnets" in capsys.readouterr().err
    assert run("convert", file, "--to", "timm", "--out", tmp_path / "t.safetensors") == 0
    assert app.main(["predict", str(tmp_path / "t.safetensors"), str(tmp_path)]) == 2
    assert "resnets weights convert" in capsys.readouterr().err
    assert run("convert", file, "--to", "resnets", "--out", "x", "--class-names", tmp_path / "none.txt") == 2
    assert "no text file of class names" in capsys.readouterr().err
