"""A network is converted once; what is kept is taken for this network only, and whole or not at all."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tests import forked_processes
from tests.in_soak import only_in_soak
from torch import Tensor

from resnets.inference import backends, fold_batchnorm, openvino_cache
from resnets.inference.import_openvino import has_openvino
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.tasks.classification.static_graph import classifier_graph

pytestmark = pytest.mark.skipif(not has_openvino(), reason="needs openvino")
SHAPE = (4, 3, 32, 32)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each conversion."""
    calls: list[int] = []
    fold = fold_batchnorm.fold
    monkeypatch.setattr(fold_batchnorm, "fold", lambda module: calls.append(1) or fold(module))
    return calls


def answers(net: ResNet, images: Tensor) -> Tensor:
    return backends.build("openvino", classifier_graph(net), "fp32", SHAPE)(images)


def files(home: Path) -> list[Path]:
    return sorted(home.glob("*.safetensors"))


@pytest.fixture(scope="module")
def converted(net: ResNet, images: Tensor, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """The file of `net`, and what its backend computes."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETS_HOME", str(home))
        outputs = answers(net, images)
    (path,) = files(home / "openvino")
    return path, outputs


@pytest.fixture
def kept(converted: tuple[Path, Tensor], home: Path) -> Path:
    """A copy of that file where the next backend of `net` finds it."""
    home.mkdir(parents=True)
    return Path(shutil.copy(converted[0], home))


def test_the_second_time_it_is_read(
    net: ResNet, images: Tensor, folded: list[int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answers(net, images)
    assert f"MB in '{home}'" in capsys.readouterr().err
    again = answers(net, images)
    assert capsys.readouterr() == ("", "")
    assert folded == [1]
    assert torch.equal(first, again)
    torch.testing.assert_close(again, net(images).detach(), rtol=1e-4, atol=1e-4)
    assert len(files(home)) == 1


def test_another_process_finds_it() -> None:
    """The name holds nothing that changes from process to process, for a network of each kind of block."""
    script = (
        "import torch\nfrom resnets.inference import openvino_cache\nfrom resnets.models import zoo\nfound = []\n"
        "for name in ('tiny', 'cifar_resnet20', 'cifar_preresnet110', 'resnet18', 'keras_resnet50'):\n"
        "    depths = (1,) * len(zoo.get_spec(name).num_blocks)\n    torch.manual_seed(0)\n"
        "    found.append(openvino_cache.cache_key(zoo.build(name, num_blocks=depths), (1, 3, 64, 64)))\n"
    )
    names: dict[str, list[str]] = {}
    exec(script, names)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", f"{script}print(*found)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == names["found"]
    assert len(set(names["found"])) == 5


def test_what_computes_something_else_has_another_name() -> None:
    torch.manual_seed(0)
    net = zoo.build("cifar_resnet20").eval()
    first = openvino_cache.cache_key(net, SHAPE)
    names = [first, openvino_cache.cache_key(net, (8, 3, 32, 32))]

    net.stem.conv.padding_mode = "reflect"  # the same tensors
    names.append(openvino_cache.cache_key(net, SHAPE))
    net.stem.conv.padding_mode = "zeros"

    norm = net.stages.stage1.block1.branch.norm1
    with torch.no_grad():
        norm.running_mean[0] += 1e-6
        names.append(openvino_cache.cache_key(net, SHAPE))
        norm.running_mean[0] = 0
    norm.register_buffer("kernel", torch.ones(3), persistent=False)
    names.append(openvino_cache.cache_key(net, SHAPE))
    norm.kernel[0] = 2
    names.append(openvino_cache.cache_key(net, SHAPE))
    del norm.kernel

    assert openvino_cache.cache_key(net, SHAPE) == first
    assert "" not in names
    assert len(set(names)) == len(names)


def test_changed_code_has_another_name(net: ResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a base class in another file as well."""
    first = openvino_cache.cache_key(net, SHAPE)
    for module in (fold_batchnorm, sys.modules["resnets.models.resnet"], sys.modules["torch.nn.modules.module"]):
        assert module.__file__
        edited = tmp_path / "edited.py"
        edited.write_bytes(Path(module.__file__).read_bytes() + b"# edited")
        with monkeypatch.context() as patched:
            patched.setattr(module, "__file__", str(edited))
            assert openvino_cache.cache_key(net, SHAPE) not in ("", first)
    assert openvino_cache.cache_key(net, SHAPE) == first


def test_a_network_with_hooks_is_not_kept(net: ResNet) -> None:
    for hook in (net.stem.register_forward_hook, net.stem.register_forward_pre_hook):
        handle = hook(lambda *_: None)
        assert openvino_cache.cache_key(net, SHAPE) == ""
        handle.remove()
    assert openvino_cache.cache_key(net, SHAPE)


def test_a_network_with_a_function_as_a_setting_is_not_kept() -> None:
    """Its address changes from process to process, and says nothing about what the function computes."""
    layer = torch.nn.TransformerEncoderLayer(8, 2)
    assert " at 0x" in str(vars(layer))
    assert openvino_cache.cache_key(layer, SHAPE) == ""


def test_a_class_without_readable_source_code_is_not_cached(images: Tensor, home: Path) -> None:
    torch.manual_seed(0)
    net = zoo.build("tiny", num_classes=7).eval()
    space: dict[str, object] = {"__name__": "from_nowhere", "nn": torch.nn}
    exec("class Twice(nn.ReLU):\n    def forward(self, x): return 2 * super().forward(x)", space)
    net.stem.act = space["Twice"]()  # type: ignore[operator]
    torch.testing.assert_close(answers(net, images), net(images).detach(), rtol=1e-4, atol=1e-4)
    assert not files(home)


@pytest.mark.parametrize("damage", ["a byte", pytest.param("cut", marks=only_in_soak("4 s"))])
def test_a_damaged_file_is_converted_again(
    damage: str, net: ResNet, images: Tensor, folded: list[int], kept: Path, converted: tuple[Path, Tensor]
) -> None:
    content = kept.read_bytes()
    broken = {"a byte": content[:-9] + bytes([content[-9] ^ 4]) + content[-8:], "cut": content[:-100]}
    kept.write_bytes(broken[damage])
    assert torch.equal(answers(net, images), converted[1])
    assert folded == [1]
    assert kept.stat().st_size > len(broken["cut"])
    assert torch.equal(answers(net, images), converted[1])
    assert folded == [1]


@only_in_soak("12 s")
def test_what_was_used_least_recently_goes(images: Tensor, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(seed: int) -> set[Path]:
        before = set(files(home))
        torch.manual_seed(seed)
        answers(zoo.build("tiny", num_classes=7).eval(), images)
        return set(files(home)) - before

    made = [make(seed) for seed in range(3)]
    for age, (path,) in zip((300, 200, 100), made, strict=True):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    make(0)  # is used again
    size = files(home)[0].stat().st_size
    monkeypatch.setattr(openvino_cache, "MAX_BYTES", int(3.5 * size))
    (new,) = make(3)
    assert set(files(home)) == {new, *made[0], *made[2]}


@only_in_soak("8 s")
def test_without_a_writable_cache_it_is_converted_each_time(
    net: ResNet, images: Tensor, folded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    first = answers(net, images)
    assert torch.equal(answers(net, images), first)
    assert len(folded) == 2


@pytest.mark.usefixtures("kept")
def test_files_of_another_user_are_read(
    net: ResNet, images: Tensor, folded: list[int], converted: tuple[Path, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert torch.equal(answers(net, images), converted[1])
    assert folded == []


def test_a_file_that_openvino_cannot_read_is_converted_again(
    net: ResNet, images: Tensor, folded: list[int], kept: Path, converted: tuple[Path, Tensor]
) -> None:
    """A file that was cut before its checksum was made."""
    read = openvino_cache._load(kept)
    assert read is not None
    xml, weights = read[0], read[1][:1000]
    metadata = {"xml": xml.decode(), "sha256": openvino_cache._digest(xml, weights)}
    save_file({"weights": weights}, kept, metadata=metadata)
    assert openvino_cache._load(kept) is not None
    assert torch.equal(answers(net, images), converted[1])
    assert folded == [1]
    assert torch.equal(answers(net, images), converted[1])
    assert folded == [1]


@pytest.mark.parametrize(
    "error", [pytest.param(RuntimeError("no space"), marks=only_in_soak("4 s")), SafetensorError("no space")]
)
def test_a_full_disk_leaves_the_backend(
    error: Exception, net: ResNet, images: Tensor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(openvino_cache.safetensors.numpy, "save_file", fail)
    torch.testing.assert_close(answers(net, images), net(images).detach(), rtol=1e-4, atol=1e-4)
    assert not list(home.glob("*"))


def _free_backends_and_get_a_signal() -> None:
    signal.signal(signal.SIGCHLD, lambda *_: None)
    graph = classifier_graph(zoo.build("tiny", num_classes=3).eval())
    made = [backends.build("openvino", graph, "fp32", (2, 3, 32, 32)) for _ in range(3)]
    while made:
        del made[0]
        gc.collect()
    subprocess.run(["true"])
    print("alive")


def test_a_signal_after_backends_are_freed_does_not_crash(home: Path, tmp_path: Path) -> None:
    """Each OpenVINO core of its own would leave the process with a stack for signals that is no more."""
    job = forked_processes.start(tmp_path / "log", _free_backends_and_get_a_signal)
    job.join(forked_processes.TIMEOUT_SECONDS)
    said = (tmp_path / "log").read_text()
    assert (job.exitcode, said.splitlines()[-1]) == (0, "alive"), said
