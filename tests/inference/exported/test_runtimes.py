"""Large batches are divided among streams, and give the outputs of single images."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tests import exported_files
from tests.tiny_checkpoint import SIZE

from resnets.inference import processors
from resnets.inference.exported import read_exported
from resnets.inference.exported.runtimes import OpenVino, open_runtime


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_one_file_computes_batches_of_any_size(name: str) -> None:
    runtime = open_runtime(read_exported.read(exported_files.exported("onnx"), "onnx"), name)
    assert runtime.signature.inputs == [("uint8", (None, *SIZE, 3))]
    images = np.random.default_rng(0).integers(0, 256, (64, *SIZE, 3)).astype(np.uint8)
    alone = np.concatenate([runtime.run(image[None], ["logits"])[0] for image in images])
    for count in (1, 3, 16, 64):
        (found,) = runtime.run(images[-count:], ["logits"])
        assert found == pytest.approx(alone[-count:], abs=1e-5 * float(np.abs(alone).max()))


@pytest.mark.usefixtures("two_threads")
def test_a_batch_in_streams_has_the_outputs_of_each_image() -> None:
    runtime = open_runtime(read_exported.read(exported_files.exported("openvino"), "openvino"))
    assert isinstance(runtime, OpenVino)
    images = np.random.default_rng(0).integers(0, 256, (32, *SIZE, 3)).astype(np.uint8)
    names = ["probabilities", "features"]
    single = [np.concatenate(each) for each in zip(*(runtime.run(image[None], names) for image in images), strict=True)]
    assert list(runtime.streams.compiled) == [1]
    for count in (32, 16, 3):  # again with fewer requests, and with none
        for found, expected in zip(runtime.run(images[:count], names), single, strict=True):
            assert found.shape == expected[:count].shape
            assert np.abs(found - expected[:count]).max() < 1e-5
    assert list(runtime.streams.compiled) == [1, 2]
    strided = np.ascontiguousarray(images.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    assert np.abs(runtime.run(strided, names)[0] - single[0]).max() < 1e-5


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_threads_on_one_processor_each_compute_at_once(name: str) -> None:
    runtime = open_runtime(read_exported.read(exported_files.exported("onnx"), "onnx"), name)
    images = np.random.default_rng(0).integers(0, 256, (6, *SIZE, 3)).astype(np.uint8)
    (expected,) = runtime.run(images, ["logits"])

    def compute(part: slice) -> np.ndarray:
        processors.use(1)
        return runtime.run(images[part], ["logits"])[0]

    parts = [slice(0, 1), slice(1, 4), slice(4, 6)] * 8
    with ThreadPoolExecutor(3) as pool:
        for part, found in zip(parts, pool.map(compute, parts), strict=True):
            assert found == pytest.approx(expected[part], abs=1e-5 * float(np.abs(expected).max()))
