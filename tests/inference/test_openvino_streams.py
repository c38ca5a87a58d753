"""Any number of callers at once, each with its own outputs, and no copy of the weights for each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from resnets.inference import backends, openvino_cache, processors
from resnets.inference.import_openvino import has_openvino
from resnets.inference.openvino_streams import OpenVinoStreams
from resnets.inference.static_graph import StaticGraph

pytestmark = pytest.mark.skipif(not has_openvino(), reason="needs openvino")


@pytest.fixture(autouse=True)
def home(home_of_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all tests, so that each network is converted to OpenVINO once."""
    monkeypatch.setenv("RESNETS_HOME", str(home_of_file))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_each_caller_gets_its_own_outputs(graph: StaticGraph, images: Tensor) -> None:
    model = openvino_cache.load_or_convert(graph.static, (1, 3, 32, 32))
    streams = OpenVinoStreams(model, 2, {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = [image[None].contiguous().numpy() for image in images]

    def compute(index: int) -> np.ndarray:
        (found,) = streams.run([inputs[index]], 2, lambda request: [request.get_output_tensor(0).data])
        return found

    alone = [compute(index) for index in range(len(inputs))]
    order = [index % len(inputs) for index in range(80)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(compute, order))
    assert all(np.array_equal(each, alone[index]) for each, index in zip(found, order, strict=True))
    assert list(streams.compiled) == [2]
    assert 1 <= len(streams.idle[2]) <= 4


def test_callers_on_one_processor_share_the_streams_of_a_backend(graph: StaticGraph, images: Tensor) -> None:
    made = backends.build("openvino", graph, "fp32", (1, 3, 32, 32))
    expected = made(images)

    def compute(count: int) -> Tensor:
        processors.use(1)
        outputs: Tensor = made(images[:count])
        return outputs

    with ThreadPoolExecutor(3) as pool:
        for count, found in zip([1, 4, 2] * 8, pool.map(compute, [1, 4, 2] * 8), strict=True):
            torch.testing.assert_close(found, expected[:count], rtol=1e-5, atol=1e-5)
