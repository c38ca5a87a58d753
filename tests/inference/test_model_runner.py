"""The outputs of a model: by what the rule names, for short jobs and long ones, and in every repetition the same."""

from __future__ import annotations

import copy
import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from tests.in_soak import only_in_soak
from torch import Tensor

from resnets.errors import JobError
from resnets.inference import backends, hardware, winograd
from resnets.inference.backends import Backend
from resnets.inference.import_openvino import has_openvino
from resnets.inference.model_runner import MAX_SHAPES, ModelRunner
from resnets.inference.static_graph import StaticGraph, static_part
from resnets.models.resnet import ResNet
from resnets.tasks.classification.static_graph import classifier_graph

MILLION = 10**6


@pytest.fixture(autouse=True)
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend of torch alone, where a test does not say otherwise: nothing is compiled for minutes."""
    monkeypatch.setattr(backends, "available", lambda device: ("torch",))


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16"})


def used(runner: ModelRunner, images: Tensor, count: int | None, **job: object) -> list[str]:
    made = runner.job(count, 4, **job)  # type: ignore[arg-type]
    made.outputs(images)
    return [str(each) for each in made.used]


def test_a_job_of_unknown_length_is_the_networks_own(graph: StaticGraph, net: ResNet, images: Tensor) -> None:
    assert torch.equal(ModelRunner(graph).job(None, 4).outputs(images), net(images).detach())
    pooled = ModelRunner(static_part(graph)).job(None, 4).outputs(images)
    assert torch.equal(pooled, net.forward_pooled(images).detach())


def test_the_reference_is_called_with_its_hooks(graph: StaticGraph, net: ResNet, images: Tensor) -> None:
    handle = net.register_forward_hook(lambda module, inputs, output: output + 1)
    try:
        assert torch.equal(ModelRunner(graph).job(None, 4).outputs(images), net(images).detach())
    finally:
        handle.remove()


@pytest.mark.usefixtures("bf16")
def test_the_static_part_is_accepted_by_what_the_model_makes_of_it(
    graph: StaticGraph, net: ResNet, images: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert used(ModelRunner(graph), images, MILLION) == ["torch bf16"]
    whole = capsys.readouterr().err
    job = ModelRunner(static_part(graph)).job(MILLION, 4)
    torch.testing.assert_close(job.outputs(images), net.forward_pooled(images).detach(), rtol=0.1, atol=0.1)
    assert capsys.readouterr().err == whole
    assert "probabilities within" in whole


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("torch", "fp32"),
        ("torch", "bf16"),
        pytest.param("compile", "fp32", marks=only_in_soak("5 s")),
        pytest.param("openvino", "fp32", marks=only_in_soak("5 s")),
    ],
)
def test_several_outputs_of_images_of_several_sizes(backend: str, precision: str, two_outputs: StaticGraph) -> None:
    """Batches of one size are full, and of the other not."""
    if backend == "openvino" and not has_openvino():
        pytest.skip("needs openvino")
    generator = torch.Generator().manual_seed(0)
    job = ModelRunner(two_outputs, backend, precision).job(100, 4)
    with torch.no_grad():
        for count, side in ((4, 32), (3, 24), (4, 32), (2, 32), (1, 20)):
            images = torch.randn(count, 3, side, side + 8, generator=generator)
            found, wanted = job.outputs(images), two_outputs.model(images)
            assert isinstance(found, tuple)
            small = 1e-4 if precision == "fp32" else 0.05
            torch.testing.assert_close(found, wanted, rtol=small, atol=small)
    assert backend in [choice.backend for choice in job.used]


@pytest.mark.usefixtures("bf16")
def test_what_computes_depends_on_the_job_and_on_no_job_before(graph: StaticGraph, images: Tensor) -> None:
    runner = ModelRunner(graph)
    for _ in range(2):
        assert used(runner, images, 4) == ["reference fp32"]
        assert used(runner, images, MILLION) == ["torch bf16"]
        assert used(runner, images, MILLION, precision="fp32") == ["reference fp32"]


def test_a_batch_is_full_with_as_many_images_as_the_task_computes_together(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector divides batches of large images, so that none has half as many as the job's."""
    limited = replace(graph, largest_batch=lambda height, width: 2 * 32 * 32 // (height * width))
    built: list[str] = []
    monkeypatch.setitem(backends.BUILDERS, "compile", lambda *a: built.append("one") or backends.BUILDERS["torch"](*a))
    for expected, given in (([], graph), (["one"], limited)):
        ModelRunner(given, "compile", "bf16").job(MILLION, 32).outputs(images[:2])
        assert built == expected


@pytest.mark.usefixtures("bf16")
def test_a_repeated_job_gives_the_same_bits(graph: StaticGraph, images: Tensor) -> None:
    for count in (4, MILLION):
        first, second = (ModelRunner(graph).job(count, 4).outputs(images) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.usefixtures("bf16")
def test_a_backend_with_other_probabilities_is_not_accepted(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = replace(graph, tolerance={"bf16": 1e-9})
    assert used(ModelRunner(graph), images, MILLION) == ["reference fp32"]
    assert "backend torch bf16 is not used: on 4 images" in capsys.readouterr().err
    assert used(ModelRunner(graph, precision="bf16"), images, MILLION) == ["torch bf16"]  # asked for, it is taken


@pytest.mark.usefixtures("bf16")
def test_the_probabilities_that_are_compared_are_those_at_the_temperature(net: ResNet, images: Tensor) -> None:
    assert used(ModelRunner(classifier_graph(net)), images, MILLION) == ["torch bf16"]
    found = [
        used(ModelRunner(classifier_graph(net, temperature)), images, MILLION) for temperature in (0.3, 0.1, 0.03, 0.01)
    ]
    assert ["reference fp32"] in found


def test_a_backend_is_made_once_and_used_to_the_end(
    graph: StaticGraph, net: ResNet, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setitem(backends.BUILDERS, "compile", lambda *a: built.append("one") or backends.BUILDERS["torch"](*a))
    runner = ModelRunner(graph, "compile", "bf16")
    for count in (11, 10**9):
        job = runner.job(count, 4)
        first, second, last = job.outputs(images), job.outputs(images), job.outputs(images[:3])
        assert torch.equal(first, second)
        torch.testing.assert_close(last, first[:3])
    assert built == ["one"]
    assert not torch.equal(first, net(images))
    torch.testing.assert_close(first, net(images).detach(), rtol=0.05, atol=0.05)


def test_a_compiler_that_fails_leaves_the_work_to_the_others(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> Backend:
        raise RuntimeError("\n  no C++ compiler\nat line 3")

    monkeypatch.setattr(hardware, "cpu_flags", lambda: set())
    monkeypatch.setattr(backends, "available", lambda device: ("torch", "openvino"))
    monkeypatch.setattr(backends, "check", lambda *_: None)
    monkeypatch.setitem(backends.BUILDERS, "openvino", broken)
    assert used(ModelRunner(graph), images, MILLION) == ["reference fp32"]
    assert "backend openvino fp32 cannot compute this network: no C++ compiler\n" in capsys.readouterr().err
    monkeypatch.setitem(backends.BUILDERS, "compile", broken)
    with pytest.raises(JobError, match="no C"):
        used(ModelRunner(graph, backend="compile"), images, MILLION)


def test_a_backend_that_computes_something_else_is_not_used(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Backend("openvino", "fp32", 0, torch.device("cpu"), lambda x: graph.model(x.flip(-2)))
    monkeypatch.setattr(backends, "available", lambda device: ("torch", "openvino"))
    monkeypatch.setattr(backends, "check", lambda *_: None)
    monkeypatch.setitem(backends.BUILDERS, "openvino", lambda *_: wrong)
    monkeypatch.setattr(hardware, "cpu_flags", lambda: set())
    assert used(ModelRunner(graph), images, MILLION) == ["reference fp32"]


def test_images_of_many_sizes_are_not_compiled_for(
    graph: StaticGraph, net: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, ...]] = []
    monkeypatch.setitem(backends.BUILDERS, "compile", lambda *a: made.append(a[2]) or backends.BUILDERS["torch"](*a))
    job = ModelRunner(graph, "compile", "bf16").job(100, 2)
    for side in range(32, 32 + MAX_SHAPES + 3):
        images = torch.randn(2, 3, side, side)
        torch.testing.assert_close(job.outputs(images), net(images).detach(), rtol=0.1, atol=0.1)
    assert len(made) == MAX_SHAPES


def test_torch_computes_images_of_all_sizes_by_one_backend(graph: StaticGraph, net: ResNet) -> None:
    runner = ModelRunner(graph, "torch", "fp32")
    job = runner.job(100, 2)
    for side in range(32, 32 + MAX_SHAPES + 3):
        images = torch.randn(1 + side % 2, 3, side, side)
        torch.testing.assert_close(job.outputs(images), net(images).detach(), rtol=1e-4, atol=1e-4)
    assert len(runner.built) == len(job.used) == 1


@pytest.mark.parametrize(("share", "wanted"), [(0.6, "torch fp32"), (0.4, "reference fp32")])
def test_winograds_algorithm_computes_long_jobs_that_need_not_be_exact(
    share: float, wanted: str, graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2"})
    monkeypatch.setattr(winograd, "is_faster_here", lambda: True)
    monkeypatch.setattr(winograd, "share", lambda module, images: share)
    assert used(ModelRunner(graph), images, MILLION) == [wanted]
    assert used(ModelRunner(graph), images, MILLION, precision="fp32") == ["reference fp32"]
    assert used(ModelRunner(replace(graph, exact=False)), images, MILLION, precision="fp32") == [wanted]
    assert used(ModelRunner(graph), images, 4) == ["reference fp32"]


def test_a_network_in_float64_is_run_by_the_reference(net: ResNet, images: Tensor) -> None:
    double = copy.deepcopy(net).double()
    logits = ModelRunner(classifier_graph(double)).job(10**9, 4).outputs(images.double())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, net(images).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["torch", pytest.param("compile", marks=only_in_soak("6 s")), "openvino"])
def test_settings_of_the_process_are_unchanged(backend: str, two_outputs: StaticGraph, images: Tensor) -> None:
    """While a thread compiles, what another one logs, warns and prints is neither lost nor held back."""
    if backend == "openvino" and not has_openvino():
        pytest.skip("needs openvino")
    seen: set[tuple[object, ...]] = set()
    done = threading.Event()

    def state() -> tuple[object, ...]:
        return logging.root.manager.disable, id(sys.stdout), id(sys.stderr), id(warnings.showwarning)

    def work() -> None:
        try:
            ModelRunner(two_outputs, backend=backend, precision="fp32").job(MILLION, 4).outputs(images)
        finally:
            done.set()

    before, filters = state(), list(warnings.filters)
    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.005):
        seen.add(state()[:3])  # torch's compiler itself changes how warnings are shown for moments
    thread.join()
    assert seen <= {before[:3]}
    assert state() == before
    assert warnings.filters == filters


@pytest.mark.usefixtures("bf16")
def test_torch_is_chosen_for_images_of_all_sizes(graph: StaticGraph) -> None:
    """Whatever the number of sizes and however few images have one: its backend needs no shape."""
    job = ModelRunner(graph).job(MILLION, 4)
    for side in range(32, 32 + MAX_SHAPES + 2):
        job.outputs(torch.randn(1, 3, side, side))
    assert [str(each) for each in job.used] == ["torch bf16"]


def test_threads_that_begin_at_once_build_one_backend(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(name: str, *arguments: object) -> Backend:
        built.append(name)
        return original(name, *arguments)  # type: ignore[arg-type]

    original = backends.build
    monkeypatch.setattr(backends, "build", build)
    job = ModelRunner(graph, "torch", "fp32").job(MILLION, 1)
    expected = graph.model(images).detach()
    ready = threading.Barrier(4)

    def compute(_: int) -> Tensor:
        ready.wait(60)
        outputs: Tensor = job.outputs(images)
        return outputs

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(compute, range(4)):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert built == ["torch"]
