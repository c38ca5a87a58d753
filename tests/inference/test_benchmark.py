"""The figures of a measurement hang together, and say when a backend gives other answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.inference import backends, benchmark
from resnets.inference.backends import Backend
from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.models import zoo


def measured(graph: StaticGraph, images: Tensor, *names: str) -> list[benchmark.Row]:
    cases = benchmark.cases_of(graph, images, names, ("fp32", "bf16"))
    return list(benchmark.measure(graph, cases, batch=2, seconds=0.0))


def test_the_reference_comes_first_and_agrees_with_itself(graph: StaticGraph, images: Tensor) -> None:
    first, single, half = measured(graph, images, "torch")
    assert [(row.backend, row.precision) for row in (first, single, half)] == [
        ("reference", "fp32"), ("torch", "fp32"), ("torch", "bf16"),
    ]  # fmt: skip
    assert first.to_dict()["agreement"] == {"images": 4, "same": 1.0, "logit": 0.0, "probability": 0.0}
    assert half.agreement.difference > single.agreement.difference
    assert first.is_close
    assert half.is_close == (half.agreement.difference <= graph.tolerance["bf16"])
    assert "is_close" not in first.to_dict()
    for row in (first, single, half):
        assert 0 < row.p50_ms <= row.p95_ms <= row.p99_ms
        assert row.images_per_second > 0
        assert row.memory_mib is None  # on the CPU, where backends share what the process holds
        assert row.speedup > 0
    assert first.speedup == pytest.approx(1.0)


def test_a_backend_with_other_outputs_is_seen(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        backends.BUILDERS,
        "torch",
        lambda *_: Backend("torch", "fp32", 0, torch.device("cpu"), lambda x: graph.model(x.flip(-2))),
    )
    row = measured(graph, images, "torch")[1]
    assert row.agreement.details["logit"] > 1e-3


def test_a_model_with_several_outputs(two_outputs: StaticGraph, images: Tensor) -> None:
    rows = measured(two_outputs, images, "torch")
    assert [row.agreement.images for row in rows] == [4, 4, 4]
    first, single, half = (row.to_dict()["agreement"]["largest"] for row in rows)
    assert first == 0 <= single < 1e-5 < half


def test_a_backend_that_fails_is_a_row_without_measurements(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Backend:
        raise RuntimeError("no compiler")

    monkeypatch.setitem(backends.BUILDERS, "compile", broken)
    rows = measured(graph, images, "compile", "torch")
    assert [row.failure for row in rows] == ["", "no compiler", "no compiler", "", ""]
    assert rows[1].agreement is None


def test_names_of_backends() -> None:
    cpu = torch.device("cpu")
    assert benchmark.parse_backends("torch, reference,torch", cpu) == ["torch"]
    assert benchmark.parse_backends("", cpu) == list(backends.available(cpu))
    with pytest.raises(UserError, match="no backend 'tensorrt'"):
        benchmark.parse_backends("tensorrt", cpu)


def test_a_batch_larger_than_the_images(graph: StaticGraph, images: Tensor) -> None:
    with pytest.raises(UserError, match="received 9"):
        next(benchmark.measure(graph, benchmark.cases_of(graph, images, (), ("fp32",)), batch=9, seconds=0.0))


def test_batch_norms_of_random_weights_are_calibrated(images: Tensor) -> None:
    torch.manual_seed(0)
    net = zoo.build("cifar_resnet56", num_classes=7)
    momenta = {module.momentum for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)}
    settled = benchmark.calibrate_batch_norms_(net, images)
    assert not settled.training
    assert settled.forward_pooled(images).std() < 5
    assert {module.momentum for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)} == momenta
    torch.testing.assert_close(settled(images), net.train()(images), rtol=0.2, atol=0.2)


def test_a_row_is_printed_before_the_next_backend_is_built(
    graph: StaticGraph, images: Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    maker = backends.BUILDERS["torch"]
    monkeypatch.setitem(backends.BUILDERS, "torch", lambda graph, *how: made.append(how[0]) or maker(graph, *how))
    cases = benchmark.cases_of(graph, images, ("torch",), ("fp32", "bf16"))
    rows = benchmark.measure(graph, cases, batch=2, seconds=0.0)
    assert (str(next(rows)), made) == ("reference fp32", [])
    assert (str(next(rows)), made) == ("torch fp32", ["fp32"])
    assert "3 of 3" not in capsys.readouterr().err
    assert str(next(rows)) == "torch bf16"
    assert "3 of 3: torch bf16, batch 2" in capsys.readouterr().err


def test_a_short_measurement_takes_one_batch_in_each_round(graph: StaticGraph, images: Tensor) -> None:
    for row in measured(graph, images, "torch"):
        assert row.runs == benchmark.ROUNDS


def test_ratio_and_rates_are_of_the_same_batches(graph: StaticGraph, images: Tensor) -> None:
    for row in measured(graph, images, "torch"):
        assert row.speedup == pytest.approx(row.images_per_second / row.reference_per_second)
        assert row.images_per_second == pytest.approx(1000 * row.batch / row.p50_ms)
        assert row.spread[0] <= row.speedup <= row.spread[1]


def row(
    backend: str, precision: str, times: float, moved: float | None = 0.0, batch: int = 16, spread: float = 0.0
) -> benchmark.Row:
    near = None if moved is None else Agreement(32, moved, "", quantity="a box")
    ends, is_close = (times - spread, times + spread), moved is not None and moved < 0.01
    return benchmark.Row(backend, precision, batch, speedup=times, spread=ends, agreement=near, is_close=is_close)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("openvino", "fp32", 4.4), row("torch", "fp32", 1.2)], ["use openvino fp32: 4.4 [4.4,", "`backend=openvino`"]),
        ([row("torch", "fp32", 1.02)], ["use the reference"]),
        ([row("torch", "fp32", 1.4, spread=0.5)], ["beyond the spread of the rounds (at most torch fp32: 1.4 [0.9, 1.9] times"]),
        (
            [row("torch", "fp32", 1.9, spread=0.5), row("openvino", "fp32", 1.5)],
            ["no clear winner", "(torch fp32: 1.9 [1.4, 2.4] times, openvino fp32: 1.5 [1.5, 1.5] times the reference)"],
        ),
        ([row("openvino", "bf16", 41.0, spread=39.0)], ["no clear result, the rounds differ widely", "[2.0, 80.0] times"]),
        ([row("compile", "fp32", 0.0, None)], ["use the reference"]),
        (
            [row("openvino", "bf16", 5.1, 0.03), row("openvino", "fp32", 2.0)],
            ["use openvino fp32: 2.0", "openvino bf16 is faster (5.1 times), but changes a box by up to 0.030"],
        ),
        ([row("openvino", "bf16", 5.1, 0.03)], ["use the reference", "openvino bf16 is faster"]),
    ],
)  # fmt: skip
def test_a_sentence_recommends_a_backend(rows: list[benchmark.Row], said: list[str]) -> None:
    (sentence,) = benchmark.recommend([row("reference", "fp32", 1.0), *rows])
    assert sentence.startswith("Batch 16: ")
    assert all(words in sentence for words in said), sentence


def test_a_sentence_for_each_batch() -> None:
    rows = [row("reference", "fp32", 1.0, batch=each) for each in (1, 16)]
    assert [sentence.partition(":")[0] for sentence in benchmark.recommend(rows)] == ["Batch 1", "Batch 16"]


def test_a_backend_that_takes_long_to_build_pays_from_a_number_of_images() -> None:
    built = replace(row("compile", "fp32", 2.0), build_seconds=30.0, images_per_second=100.0, reference_per_second=50.0)
    (sentence,) = benchmark.recommend([row("reference", "fp32", 1.0), built])
    assert "from about 3,000 images on, since it takes 30 s to build" in sentence
    (sentence,) = benchmark.recommend([row("reference", "fp32", 1.0), replace(built, build_seconds=0.4)])
    assert "images on" not in sentence
