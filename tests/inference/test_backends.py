"""Each backend computes the model: in fp32 to rounding, in bf16 to its 8 bits, for any number of images."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference import backends, openvino_cache, winograd
from resnets.inference.backends import Backend
from resnets.inference.import_openvino import has_openvino
from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.tasks.classification.static_graph import classifier_graph

CASES = [
    (name, precision)
    for name in backends.NAMES
    for precision in backends.PRECISIONS
    if IN_SOAK or (name, precision) != ("compile", "bf16")  # the compiler takes ten seconds each time
]
SMALL = 1e-4


@pytest.fixture(autouse=True)
def home(home_of_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all tests, so that each network is converted to OpenVINO once."""
    monkeypatch.setenv("RESNETS_HOME", str(home_of_file))


@pytest.fixture(scope="module")
def made(graph: StaticGraph):
    """A function that makes a backend once for all tests here."""

    @functools.cache
    def make(name: str, precision: str) -> Backend:
        if name == "openvino" and not has_openvino():
            pytest.skip("needs openvino")
        return backends.build(name, graph, precision, (4, 3, 32, 32))

    return make


def openvino_bf16() -> bool:
    return "BF16" in openvino_cache.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_it_computes_what_the_network_does(name: str, precision: str, made, net: ResNet, images: Tensor) -> None:
    if (name, precision) == ("openvino", "bf16") and has_openvino() and not openvino_bf16():
        with pytest.raises(RuntimeError, match="no bf16 on this processor"):
            made(name, precision)
        return
    wanted = net(images).detach()
    logits = made(name, precision)(images)
    assert logits.dtype == torch.float32
    far = float((logits - wanted).abs().max() / wanted.abs().max())
    assert far < SMALL if precision == "fp32" else SMALL < far < 0.03


@pytest.mark.parametrize("name", backends.NAMES)
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_of_images(name: str, count: int, made, net: ResNet) -> None:
    images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(made(name, "fp32")(images), net(images).detach(), rtol=SMALL, atol=SMALL)


@pytest.mark.parametrize(
    ("batch", "threads", "side", "streams", "part"),
    [
        (32, 2, 224, 2, 4), (20, 2, 224, 2, 2), (28, 2, 224, 2, 2), (26, 2, 224, 2, 1), (32, 2, 448, 2, 1),
        (32, 2, 32, 2, 16), (24, 3, 32, 3, 8), (25, 2, 224, 1, 25), (8, 4, 224, 1, 8), (1, 2, 224, 1, 1), (7, 2, 32, 1, 7),
    ],
)  # fmt: skip
def test_a_batch_is_divided_among_streams(batch: int, threads: int, side: int, streams: int, part: int) -> None:
    assert backends.split_batch(batch, threads, side * side) == (streams, part)
    assert batch % (streams * part) == 0


@pytest.mark.skipif(not has_openvino(), reason="needs openvino")
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_for_single_images_computes_several_in_streams(
    threads: int, two_outputs: StaticGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has batches of any size, which would else be filled up, or computed one image after the other."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    made = backends.build("openvino", two_outputs, "fp32", (1, 3, 32, 32))
    for count in (1, 5, 2, 1):
        torch.testing.assert_close(made(images[:count]), two_outputs.model(images[:count]), rtol=SMALL, atol=SMALL)
    idle = inspect.getclosurevars(made.compute).nonlocals["made"].idle
    assert {streams: len(requests) for streams, requests in idle.items()} == ({1: 1, 2: 5} if threads > 1 else {1: 1})


@pytest.mark.skipif(not has_openvino(), reason="needs openvino")
@pytest.mark.parametrize(
    ("batch", "pixels", "requests"),
    [
        (16, backends.REQUEST_PIXELS, 2), (9, 2 * 32 * 32, 1),
        *([(24, backends.REQUEST_PIXELS, 2), (9, backends.REQUEST_PIXELS, 1)] if IN_SOAK else []),
        *([(24, 2 * 32 * 32, 12), (16, 2 * 32 * 32, 8)] if IN_SOAK else []),
    ],
)  # fmt: skip
def test_the_parts_of_a_batch_come_back_in_their_order(
    batch: int, pixels: int, requests: int, two_outputs: StaticGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    images = torch.randn(batch + 3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    wanted = two_outputs.model(images)
    monkeypatch.setattr(backends, "REQUEST_PIXELS", pixels)
    made = backends.build("openvino", two_outputs, "fp32", (batch, 3, 32, 32))
    torch.testing.assert_close(made(images), wanted, rtol=SMALL, atol=SMALL)
    (idle,) = inspect.getclosurevars(made.compute).nonlocals["made"].idle.values()
    assert len(idle) == requests


def test_an_output_is_not_overwritten_by_the_next(made, images: Tensor) -> None:
    for name in backends.NAMES:
        first = made(name, "fp32")(images)
        kept = first.clone()
        made(name, "fp32")(images.flip(0) * 2)
        assert torch.equal(first, kept)


class OneMap(nn.Module):
    """A tuple of one tensor, from a condition that torch.fx cannot trace and that depends on shapes only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        x = self.norm(self.conv(images))
        return (x if min(x.shape[-2:]) > 1 else x + 1,)


@pytest.mark.parametrize("name", backends.NAMES)
def test_a_tuple_of_one_output_of_a_module_that_is_not_folded(
    name: str, two_outputs: StaticGraph, images: Tensor
) -> None:
    if name == "openvino" and not has_openvino():
        pytest.skip("needs openvino")
    torch.manual_seed(0)
    model = OneMap().eval()
    graph = replace(two_outputs, model=model, static=model, finish=lambda maps: maps)
    for _ in range(2):  # as converted, and as cached
        (output,) = backends.build(name, graph, "fp32", (4, 3, 32, 32))(images[:3])
        torch.testing.assert_close(output, model(images[:3])[0].detach(), rtol=SMALL, atol=SMALL)


def test_norms_that_are_not_folded_stay_in_float32() -> None:
    """A pre-activation network in bf16: a mean of 40 with a spread of 1 would drown in the 8 bits of a norm in bf16."""
    torch.manual_seed(0)
    net = zoo.build("cifar_preresnet110", num_classes=7, num_blocks=(1, 1, 1)).eval()
    made = backends.build("torch", classifier_graph(net), "bf16", (2, 3, 32, 32))
    kinds = {p.dtype for m in made.compute.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.buffers()}  # type: ignore[attr-defined]
    assert torch.bfloat16 not in kinds
    assert torch.float32 in kinds


def test_a_backend_that_is_unknown_or_not_for_this_device(graph: StaticGraph) -> None:
    with pytest.raises(UserError, match="Did you mean 'openvino'"):
        backends.build("openvno", graph, "fp32", (4, 3, 32, 32))
    with pytest.raises(UserError, match="`backend=openvino` computes on the CPU"):
        backends.check("openvino", torch.device("cuda"))
    assert "openvino" not in backends.available(torch.device("cuda"))


def test_nothing_is_printed_while_compiling(made, capfd: pytest.CaptureFixture[str], graph: StaticGraph) -> None:
    if has_openvino():
        backends.build("openvino", graph, "fp32", (2, 3, 32, 32))
    out, said = capfd.readouterr()
    assert out == ""
    assert all("is cached for the next time" in line for line in said.splitlines())


@pytest.mark.parametrize(
    ("precision", "is_faster", "wanted"), [("fp32", True, True), ("fp32", False, False), ("bf16", True, False)]
)
def test_torch_in_fp32_uses_winograds_algorithm_where_it_is_faster(
    precision: str, is_faster: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "is_faster_here", lambda: is_faster)
    layers = nn.Sequential(nn.Conv2d(3, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding=1)).eval()
    built = backends.build("torch", graph_of(layers), precision, ())
    assert isinstance(built.compute, nn.Module)
    assert any(isinstance(each, winograd.WinogradConv2d) for each in built.compute.modules()) == wanted


def graph_of(layers: nn.Module) -> StaticGraph:
    return StaticGraph(
        layers, layers, lambda outputs: outputs, lambda *_: Agreement(0, 0.0, ""), {"fp32": 0, "bf16": 0}
    )
