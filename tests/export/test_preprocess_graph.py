"""Preprocessing in a graph against `Preprocess`, and so against Pillow: in torch, ONNX Runtime and OpenVINO."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.in_soak import IN_SOAK
from torch import Tensor, nn

from resnets.data.image import resizing
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.export import preprocess_graph, to_onnx, to_openvino
from resnets.export.graph import example_input
from resnets.export.preprocess_graph import ResizeCrop
from resnets.export.trace import trace
from resnets.inference.exported.runtimes import OnnxRuntime, OpenVino, read_onnx

RESIZES = ("shorter", "stretch", "pad", "none")
SHARES = {"bilinear": 0.06, "bicubic": 0.003, "lanczos": 0.003}  # of values that are one gray level off


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def levels(found: Tensor, expected: Tensor, preprocess: Preprocess) -> Tensor:
    """The differences of normalized images in gray levels."""
    return (found - expected).abs() * torch.tensor(preprocess.std).view(-1, 1, 1) * preprocess.scale


@st.composite
def preprocesses(draw: st.DrawFn) -> Preprocess:
    size = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    resize = draw(st.sampled_from(RESIZES))
    interpolation = draw(st.sampled_from(resizing.INTERPOLATIONS if resize == "none" else list(SHARES)))
    can_alias = resize == "stretch" and interpolation == "bilinear"
    color = draw(st.sampled_from(["rgb", "bgr", "gray"]))
    channels = 1 if color == "gray" else 3
    count = channels * draw(st.sampled_from([1, math.prod(size)]))  # a mean, or a mean image
    random = np.random.default_rng(draw(st.integers(0, 9)))
    return Preprocess(
        size=size,
        resize=resize,
        resize_to=max(size) + draw(st.integers(0, 20)),
        interpolation=interpolation,
        antialias=not can_alias or draw(st.booleans()),
        crop="none" if resize in ("stretch", "pad") and draw(st.booleans()) else "center",
        color=color,
        scale=draw(st.sampled_from([1.0, 127.5, 255.0])),
        mean=tuple(random.uniform(0, 1, count).tolist()),
        std=tuple(random.uniform(0.1, 2, channels).tolist()),
        background=draw(st.sampled_from([(255, 255, 255), (3, 120, 250)])),
    )


@settings(max_examples=150)
@given(preprocess=preprocesses(), height=st.integers(1, 130), width=st.integers(1, 130))
@example(Preprocess(size=(7, 40), resize="shorter", resize_to=45), 40, 40)  # two levels, in one value
def test_every_value_is_at_most_two_gray_levels_from_pillow(preprocess: Preprocess, height: int, width: int) -> None:
    image = noise(height, width)
    expected = preprocess(image)
    (found,) = preprocess_graph.build(preprocess, "full")(torch.from_numpy(image)[None])
    assert found.shape == expected.shape
    differences = levels(found, expected, preprocess)
    if preprocess.resize == "none":
        assert differences.max() <= 1e-3
    else:
        assert differences.max() <= (2.001 if preprocess.antialias else 0.02)


@pytest.mark.parametrize("interpolation", SHARES)
def test_few_values_differ(interpolation: str) -> None:
    """Also of tall images, which Pillow 13 resizes in the other order."""
    off = total = 0
    for seed, size in enumerate([(131, 97), (97, 203), (203, 61), (45, 61), (331, 17), (64, 64)]):
        preprocess = Preprocess(size=(45, 61), resize=RESIZES[seed % 3], resize_to=67, interpolation=interpolation)
        image = noise(*size, seed)
        found = preprocess_graph.build(preprocess, "full")(torch.from_numpy(image)[None])[0]
        differences = levels(found, preprocess(image), preprocess)
        assert differences.max() <= 1.001
        off, total = off + int((differences > 0.5).sum()), total + differences.numel()
    print(f"{interpolation}: {off / total:.3%} of the values differ by one gray level")
    assert off / total <= SHARES[interpolation]


@settings(max_examples=300)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    resize=st.sampled_from(["shorter", "pad", "none"]),
    more=st.integers(0, 800),
    image=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
)
def test_sizes_are_those_of_preprocess(size: tuple[int, int], resize: str, more: int, image: tuple[int, int]) -> None:
    """Also of long strips, whose ends are cut off."""
    side = max(size) + more
    preprocess = Preprocess(size=size, resize=resize, resize_to=side)
    axes = ResizeCrop(preprocess).axes(torch.zeros(1, 1, 1, 1).expand(1, *image, 3))
    start = (0, 0)
    if resize == "shorter":
        resized, _, start = resizing.shorter_side_size(image, side)
        left, top, right, bottom = resizing.center_strip_box(image[::-1], side)
        assert [int(axis.used) for axis in axes] == [bottom - top, right - left]
    else:
        resized = resizing.fitted_size(image, size) if resize == "pad" else image
    assert tuple(int(axis.resized) for axis in axes) == resized
    assert tuple(int(axis.start) for axis in axes) == start
    if resize == "pad":
        first = [-((whole - inner) // 2) for whole, inner in zip(size, resized, strict=True)]
    else:
        first = list(resizing.center_crop_corner(resized[::-1], size)[::-1])
    assert [int(axis.first) for axis in axes] == first


def test_the_middle_of_a_strip_is_used() -> None:
    """Pixels beyond the box of `center_strip_box` have no weight."""
    preprocess = Preprocess(size=(8, 6700), resize="shorter", resize_to=6700)
    image = noise(2, 8)
    left, _, right, _ = resizing.center_strip_box((8, 2), 6700)
    assert (left, right) == (3, 5)
    graph = preprocess_graph.build(preprocess, "full")
    found, cut = (graph(torch.from_numpy(each)[None])[0] for each in (image, image[:, left:right].copy()))
    assert levels(found, cut, preprocess).max() <= 1e-3


def test_what_no_graph_can_make_is_told() -> None:
    for options in ({"resize": "shorter"}, {"resize": "stretch"}, {"resize": "stretch", "antialias": False}):
        with pytest.raises(UserError, match="cannot resize by 'nearest' exactly as Pillow does"):
            preprocess_graph.build(Preprocess(interpolation="nearest", **options), "full")  # type: ignore[arg-type]
    for preprocess in (Preprocess(size=(64, 64), resize="fit"), Preprocess(size=(64, 64), crop="none")):
        with pytest.raises(UserError, match="`preprocess=full` needs an input of one size for all images"):
            preprocess_graph.build(preprocess, "full")
        assert isinstance(preprocess_graph.build(preprocess, "none"), nn.Identity)


def test_in_onnx_runtime_and_openvino() -> None:
    """What the networks of other tests do not have: background, cubic, BGR, and a mean image."""
    mean = tuple(np.random.default_rng(0).uniform(0, 1, 3 * 45 * 61).tolist())
    preprocess = Preprocess(size=(45, 61), resize="pad", interpolation="bicubic", color="bgr", mean=mean)
    module = preprocess_graph.build(preprocess, "full")
    program = trace(module, example_input(None, 3, "full"), "full", None)
    content = to_onnx.convert(program, ["pixels"]).SerializeToString()
    of_onnx = OnnxRuntime(content)
    assert [each.shape for each in of_onnx.session.get_inputs()] == [["batch", "height", "width", 3]]
    of_program = to_openvino.convert(program, ["pixels"], (None, None, None, 3))
    of_openvino = [OpenVino(of_program), *([OpenVino(read_onnx(content))] if IN_SOAK else [])]
    for number, size in enumerate([(53, 97), (9, 7), (301, 80), (80, 201), (1, 1)]):
        compiled = of_openvino if IN_SOAK or number < 1 else []  # OpenVINO compiles the graph for each size
        images = np.stack([noise(*size, seed) for seed in (0, 1, 2)])
        expected = torch.stack([preprocess(image) for image in images])
        for runtime in (of_onnx, *compiled):
            (found,) = runtime.run(images, ["pixels"])
            differences = levels(torch.from_numpy(found), expected, preprocess)
            assert differences.max() <= 1.001
            assert (differences > 0.5).float().mean() <= 0.003
