"""A network is converted once; what is kept is taken for this network only, and whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resnets.engine import converted, engines, folding, machine
from resnets.models import zoo
from resnets.models.resnet import ResNet

pytestmark = pytest.mark.skipif(not machine.has_openvino(), reason="needs openvino")
SHAPE = (4, 3, 32, 32)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each conversion."""
    calls: list[int] = []
    fold = folding.fold
    monkeypatch.setattr(folding, "fold", lambda module: calls.append(1) or fold(module))
    return calls


def answers(net: ResNet, pictures: Tensor) -> Tensor:
    return engines.build("openvino", net, "fp32", SHAPE)(pictures)


def files(home: Path) -> list[Path]:
    return sorted(home.glob("*.safetensors"))


def test_the_second_time_it_is_read(
    net: ResNet, pictures: Tensor, folded: list[int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answers(net, pictures)
    assert f"MB in '{home}'" in capsys.readouterr().err
    again = answers(net, pictures)
    assert capsys.readouterr() == ("", "")
    assert folded == [1]
    assert torch.equal(first, again)
    torch.testing.assert_close(again, net.embed(pictures).detach(), rtol=1e-4, atol=1e-4)
    assert len(files(home)) == 1


def test_another_process_finds_it(net: ResNet, home: Path, tmp_path: Path) -> None:
    """The name holds nothing that changes from process to process, for a network of each kind of block."""
    script = (
        "import torch\nfrom resnets.engine import converted\nfrom resnets.models import zoo\n"
        "for name in ('tiny', 'cifar_resnet20', 'cifar_preresnet110', 'resnet18', 'keras_resnet50'):\n"
        "    torch.manual_seed(0)\n    print(converted.name(zoo.create(name), (1, 3, 64, 64)))\n"
    )
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert len(set(done.stdout.split())) == 5
        found.add(done.stdout)
    assert len(found) == 1


def test_what_computes_something_else_has_another_name(net: ResNet) -> None:
    def name(**changes: object) -> str:
        torch.manual_seed(0)
        return converted.name(zoo.create("cifar_resnet20", **changes).eval(), SHAPE)

    twin = zoo.create("cifar_resnet20")
    twin.stem.conv.padding_mode = "reflect"
    torch.manual_seed(0)
    fresh = zoo.create("cifar_resnet20").eval()
    names = [name(), converted.name(fresh, (8, 3, 32, 32)), converted.name(twin.eval(), SHAPE)]
    fresh.stem.conv.padding_mode = "reflect"  # the same tensors
    names.append(converted.name(fresh, SHAPE))
    fresh.stem.conv.padding_mode = "zeros"
    assert converted.name(fresh, SHAPE) == names[0]
    with torch.no_grad():
        fresh.stages.stage1.block1.branch.norm1.running_mean[0] += 1e-6
    names.append(converted.name(fresh, SHAPE))
    assert len(set(names)) == len(names)


def test_a_class_whose_code_nobody_can_read_is_not_kept(pictures: Tensor, home: Path) -> None:
    torch.manual_seed(0)
    net = zoo.create("tiny", classes=7).eval()
    space: dict[str, object] = {"__name__": "from_nowhere", "nn": torch.nn}
    exec("class Twice(nn.ReLU):\n    def forward(self, x): return 2 * super().forward(x)", space)
    net.stem.act = space["Twice"]()  # type: ignore[operator]
    torch.testing.assert_close(answers(net, pictures), net.embed(pictures).detach(), rtol=1e-4, atol=1e-4)
    assert not files(home)


@pytest.mark.parametrize("damage", ["a byte", "cut", "empty", "no file of this kind"])
def test_a_damaged_file_is_made_anew(damage: str, net: ResNet, pictures: Tensor, folded: list[int], home: Path) -> None:
    wanted = answers(net, pictures)
    (path,) = files(home)
    content = path.read_bytes()
    broken = {
        "a byte": content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
        "cut": content[:-100],
        "empty": b"",
        "no file of this kind": b"nothing" * 99,
    }
    path.write_bytes(broken[damage])
    assert torch.equal(answers(net, pictures), wanted)
    assert len(folded) == 2
    assert path.stat().st_size > len(broken["cut"])
    assert torch.equal(answers(net, pictures), wanted)
    assert len(folded) == 2


def test_what_was_used_least_recently_goes(pictures: Tensor, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(seed: int) -> set[Path]:
        before = set(files(home))
        torch.manual_seed(seed)
        answers(zoo.create("tiny", classes=7).eval(), pictures)
        return set(files(home)) - before

    made = [make(seed) for seed in range(3)]
    for age, (path,) in zip((300, 200, 100), made, strict=True):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    make(0)  # is used again
    size = files(home)[0].stat().st_size
    monkeypatch.setattr(converted, "LIMIT_BYTES", int(3.5 * size))
    (new,) = make(3)
    assert set(files(home)) == {new, *made[0], *made[2]}


def test_where_nothing_can_be_written_it_is_converted_each_time(
    net: ResNet, pictures: Tensor, folded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    first = answers(net, pictures)
    assert torch.equal(answers(net, pictures), first)
    assert len(folded) == 2
