"""`resnets weights list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.cli.main import main
from resnets.weights.hub import bundled, catalog, download


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path))


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["weights", "list", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_every_set_takes_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in shown(capsys).splitlines()[2:] if line.strip()]
    assert [line.split()[0] for line in lines] == [*bundled.entries(), *catalog.entries()]


def test_a_pattern_and_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "resnet50.tv*").splitlines()
    assert len(lines) == 4
    assert " ".join(lines[-1].split()) == (
        "resnet50.tv_in1k_v2 resnet50 80.86 95.43 98 torchvision, 1-crop 224 of 232 bsd-3-clause"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_folds_everything_but_names(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = shown(capsys).splitlines()
    assert max(map(len, lines)) <= width
    begin = next(i for i, line in enumerate(lines) if line.startswith("───"))
    assert [line.split()[0] for line in lines[begin + 1 :] if line[0] != " "] == [
        *bundled.entries(),
        *catalog.entries(),
    ]
    assert ("Top-5" in "".join(lines[:begin])) == (width == 120)
    assert {"License", "Here"} <= set("".join(lines[:begin]).split())
    if width == 80:
        assert len(lines) == begin + 1 + len(bundled.entries()) + len(catalog.entries()), "no network is folded"
    assert "…" not in "".join(lines)


def test_what_is_here_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    path = download.path_of(catalog.find("resnet50.tv_in1k_v2"))
    path.parent.mkdir(parents=True)
    path.touch()
    first, second = shown(capsys, "resnet50.tv*").splitlines()[2:]
    assert not first.rstrip().endswith("yes")
    assert second.rstrip().endswith("yes")


def test_json_has_every_fact(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(shown(capsys, "resnetv2_50.a1h_in1k", "--json"))
    assert row["overrides"] == {"stride_at": "3x3", "stem_preact": True}
    assert (row["top1"], row["measured"], row["file"]) == (81.398, "288/288", None)
    assert row["url"].endswith("/timm/resnetv2_50.a1h_in1k/resolve/main/model.safetensors")


def test_an_unknown_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "resnet50.a1_in1"]) == 0  # a part of a name
    assert main(["weights", "list", "resnet50.tv_in1k_v3"]) == 2
    assert "Did you mean 'resnet50.tv_in1k_v" in capsys.readouterr().err


def test_the_weights_of_the_package_are_always_here(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(shown(capsys, "cifar_resnet20.cifar10", "--json"))
    assert (row["model"], row["num_classes"]) == ("cifar_resnet20", 10)
    assert Path(row["file"]).is_file()
    assert shown(capsys, "cifar10").splitlines()[-1].rstrip().endswith("yes")
