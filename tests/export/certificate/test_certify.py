"""Honest graphs are accepted, each fault is refused, and the comparison is tried with faults in every export."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from tests import export_faults, exported_files
from tests.export_faults import Made
from tests.tiny_checkpoint import SIZE
from torch import nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import JobError
from resnets.export import graph
from resnets.export.certificate import certify as certificate_module
from resnets.export.certificate import proof_images
from resnets.export.certificate.certify import certify, check_comparison, prove, prove_all
from resnets.export.certificate.evidence import Evidence, collect
from resnets.export.certificate.proof_batches import make
from resnets.export.certificate.proof_runtimes import RuntimeChoice, runtime_choices
from resnets.export.certificate.reference import Reference
from resnets.inference.exported import runtimes
from resnets.inference.exported.metadata import FEATURES, LOGITS, PROBABILITIES
from resnets.tasks import load_model
from resnets.tasks.trained_model import TrainedModel

NAMES = (PROBABILITIES, LOGITS, FEATURES)
IMAGES = proof_images.of_scikit_learn()


class GraphRuntime:
    """The graph itself, before it is written."""

    name, version, precision = "torch", "", "f32"

    def __init__(self, graph: nn.Module, names: Sequence[str] = NAMES) -> None:
        self.graph, self.names = graph, names

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        found = dict(zip(self.names, self.graph(torch.from_numpy(images)), strict=True))
        return [found[name].numpy() for name in outputs]


def candidate(runtime: Any) -> RuntimeChoice:
    return RuntimeChoice("torch", lambda: runtime, {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return export_faults.make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def evidence(made: Made) -> Evidence:
    return collect(made.model, NAMES, IMAGES, "normalize")


def test_the_reference_is_what_the_checkpoint_predicts(made: Made, evidence: Evidence) -> None:
    frames = np.stack([export_faults.PREPROCESS.resize_crop(image) for image in IMAGES.images[-3:]])
    outputs = evidence.reference.outputs(frames)
    for image, probabilities in zip(made.model.predict(IMAGES.images[-3:]), outputs[PROBABILITIES], strict=True):
        assert image.probability == pytest.approx(probabilities.max(), abs=1e-6)
    assert outputs[FEATURES] == pytest.approx(made.model.embed(IMAGES.images[-3:]).vectors, abs=1e-5)
    logits = made.model.outputs([export_faults.PREPROCESS(image) for image in IMAGES.images[-3:]])
    assert outputs[LOGITS] == pytest.approx(logits.numpy(), abs=1e-5)


def test_the_same_images_in_three_memory_layouts(evidence: Evidence) -> None:
    assert [len(batch.frames) for batch in evidence.batches] == [1, 3, 16]
    layouts = [inputs for _, inputs in evidence.batches[1].layouts()]
    assert all(np.array_equal(each, evidence.batches[1].frames) for each in layouts)
    assert layouts[0].flags.c_contiguous
    assert not layouts[1].flags.c_contiguous
    assert layouts[1].transpose(0, 3, 1, 2).flags.c_contiguous
    assert layouts[2].strides[1] > SIZE[1] * 3


def test_a_network_for_any_size_gets_images_of_several(made: Made) -> None:
    any_size = Preprocess(resize="none", crop="none")
    batches = make(IMAGES.images, Reference(made.model.task, made.model.model, any_size, NAMES), "normalize")
    assert [len(batch.frames) for batch in batches] == [1, 1, 1, 3, 16]
    assert len({batch.frames.shape[1:3] for batch in batches}) == 4
    assert all(len(batch.expected[LOGITS]) == len(batch.frames) for batch in batches)


def test_an_honest_graph_is_accepted(made: Made, evidence: Evidence) -> None:
    proof = prove(candidate(GraphRuntime(export_faults.graph_with("", made))), evidence)
    assert proof.failing == ""
    assert proof.same_labels == proof.count == 3 * 20
    assert max(each.value for each in proof.differences) < 1e-5


@pytest.mark.parametrize("fault", export_faults.GRAPHS)
def test_a_graph_with_a_fault_is_refused(fault: str, made: Made, evidence: Evidence) -> None:
    proof = prove(candidate(GraphRuntime(export_faults.graph_with(fault, made))), evidence)
    assert "limit" in proof.failing
    assert max(each.value / each.limit for each in proof.differences) > 4


class ExactRuntime:
    """Computes in float64, so that it is right wherever float32 is not."""

    name, version, precision = "torch", "", "f32"

    def __init__(self, reference: Reference) -> None:
        self.reference = reference.in_float64()

    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        found = self.reference.outputs(images)
        return [found[name].astype(np.float32) for name in outputs]


def test_a_network_that_float32_computes_badly_has_wider_limits(made: Made, evidence: Evidence) -> None:
    """Its logits are small differences of large numbers, which cancel for the images of the comparison."""
    net = copy.deepcopy(made.model.model)
    features = torch.from_numpy(np.concatenate([batch.expected[FEATURES] for batch in evidence.batches])).double()
    mean = features.mean(0)
    constant = mean - mean @ torch.linalg.pinv(features - mean) @ (
        features - mean
    )  # its product with each image is the same
    with torch.no_grad():
        net.head.fc.weight += (constant * 1e4 / (constant @ mean)).float()
        net.head.fc.bias -= 1e4
    model = TrainedModel(made.model.task, net, export_faults.PREPROCESS, precision="fp32")
    cancelling = collect(model, NAMES, IMAGES, "normalize")
    exact = candidate(ExactRuntime(cancelling.reference))
    assert "logits" in prove(exact, cancelling).failing
    (proof,), judged = prove_all([exact], cancelling)
    assert proof.failing == ""
    (limit,) = (each.limit for each in proof.differences if each.output == LOGITS)
    assert limit == 3 * judged.rounding[LOGITS] > 1e-4
    assert len(check_comparison(judged)) == 3


class LastImageWrong(GraphRuntime):
    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        found = super().run(images, outputs)
        if len(images) == 16:
            for each in found:
                each[-1] = 0
        return found


class WrongWithStrides(GraphRuntime):
    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        return super().run(images if images.flags.c_contiguous else images[..., ::-1].copy(), outputs)


class OneImageOnly(GraphRuntime):
    def run(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        if len(images) > 1:
            raise RuntimeError("the batch of the file is 1\nand more lines")
        return super().run(images, outputs)


def test_a_file_that_resizes_is_compared_by_gray_levels_and_noise(made: Made) -> None:
    evidence = collect(made.model, NAMES, IMAGES, "full")
    assert evidence.resized is not None
    assert len({batch.inputs.shape for batch in evidence.resized.batches}) > 10
    limits = [each[LOGITS] for each in evidence.resized.limits]
    assert 1e-4 <= min(limits) < 0.5 * max(limits) < 0.1
    for interpolation in ("bilinear", "bicubic"):
        preprocess = replace(export_faults.PREPROCESS, interpolation=interpolation)
        built = graph.build(made.model.task, made.model.model, preprocess, "full")
        pixels = partial(GraphRuntime, graph.resizer(built), (graph.PIXELS,))
        proof = prove(RuntimeChoice("torch", partial(GraphRuntime, built), {}, open_resizer=pixels), evidence)
        found = {each.output: each for each in proof.differences}
        assert found["logits"].value < 1e-5  # of images that are cropped only
        wrong = {name for name, each in found.items() if not each.within_limit}
        if interpolation == "bilinear":
            assert wrong == set()
            assert found["gray levels"].value == 1
            assert 0 < found["part of the values that differ"].value < 0.01
        else:
            assert wrong >= {"gray levels", "part of the values that differ"}
            assert "limit" in proof.failing


def test_a_resize_without_antialiasing_is_compared_before_it_is_rounded(made: Made) -> None:
    """As the checkpoint computes it, whose input has fractions of gray levels then."""
    model = load_model.load(made.file, "cpu", precision="fp32")
    model.preprocess = replace(export_faults.PREPROCESS, resize="stretch", antialias=False)
    evidence = collect(model, NAMES, IMAGES, "full")
    built = graph.build(model.task, model.model, model.preprocess, "full")
    pixels = partial(GraphRuntime, graph.resizer(built), (graph.PIXELS,))
    proof = prove(RuntimeChoice("torch", partial(GraphRuntime, built), {}, open_resizer=pixels), evidence)
    found = {each.output: each.value for each in proof.differences}
    assert proof.failing == ""
    assert found["logits of resized images"] < 1e-4
    assert evidence.reference.describe()["resizing"].endswith("without antialiasing")


def test_every_image_of_each_batch_in_each_layout_is_compared(made: Made, evidence: Evidence) -> None:
    honest = export_faults.graph_with("", made)
    assert "in a batch of 16, 61x45, contiguous" in prove(candidate(LastImageWrong(honest)), evidence).failing
    assert "a view of another order" in prove(candidate(WrongWithStrides(honest)), evidence).failing
    assert prove(candidate(OneImageOnly(honest)), evidence).failing == "the batch of the file is 1"


def test_a_moved_bias_is_of_the_model_and_of_no_masked_class(made: Made) -> None:
    masked = load_model.load(made.file, "cpu", precision="fp32")
    bias: Any = masked.model.head.fc.bias
    bias.data[0] = -1e6
    evidence = collect(masked, NAMES, IMAGES, "normalize")
    frames = evidence.batches[1].frames[:1]
    (moved,) = evidence.reference.with_faults([frames])["a moved bias"]
    difference = moved[LOGITS] - evidence.reference.outputs(frames)[LOGITS]
    assert sorted(difference[0].round(4)) == pytest.approx([0, 0, 0, 0.05], abs=1e-4)
    assert difference[0, 0] == 0
    assert bias[0] == -1e6
    assert [each.name for each in check_comparison(evidence)] == ["BGR", "/ 256", "a moved bias"]
    rolled = GraphRuntime(_RolledClasses(export_faults.graph_with("", replace(made, model=masked))))
    assert "logits" in prove(candidate(rolled), evidence).failing


class _RolledClasses(nn.Module):
    """The logits of all classes but the first one are those of another class."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        probabilities, logits, features = self.inner(images)
        return probabilities, torch.cat([logits[:, :1], logits[:, 1:].roll(1, 1)], 1), features


def test_a_comparison_that_notices_no_fault_is_an_error(made: Made, evidence: Evidence) -> None:
    blind = load_model.load(made.file, "cpu")
    for parameter in blind.model.parameters():
        parameter.data.zero_()
    with pytest.raises(JobError, match="does not notice a fault made on purpose"):
        check_comparison(collect(blind, NAMES, IMAGES, "normalize"))


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_the_certificate_of_an_exported_file(to: str) -> None:
    """All formats, in each runtime that reads them; the bytes are those that tests of the formats share."""
    traced = exported_files.traced_once()
    path = exported_files.exported(to)
    files = sorted(path.iterdir(), reverse=True) if path.is_dir() else [path]
    contents = {each.name if path.is_dir() else "": each.read_bytes() for each in files}
    model = load_model.load(exported_files.checkpoint_file(), "cpu", precision="fp32")
    found = certify(
        Path("x"), to, contents, traced.metadata(to), "model.safetensors", collect(model, NAMES, IMAGES, "normalize")
    )
    assert found.passed, found.reason
    seen = [each for each in found.runtimes if not each.not_seen]
    runtimes = {"onnx": ["onnxruntime", "openvino"], "openvino": ["openvino"], "torch": ["torch"]}[to]
    assert list(dict.fromkeys(each.name for each in seen)) == runtimes
    assert [each.name for each in found.made_faults] == ["BGR", "/ 256", "a moved bias"]
    content = found.to_dict()
    assert content["verdict"] == "passed"
    assert len(content["sha256"]) == len(contents)
    assert content["images"]["generated"] == 4
    hints = {each["runtime"]: each["hints"] for each in content["runtimes"] if each["decides"]}
    assert hints.get("openvino", {}) == ({} if to == "torch" else {"INFERENCE_PRECISION_HINT": "f32"})
    lines = " ".join(found.lines())
    assert "prove less" in lines
    assert "60 of 60 labels the same (each image in 3 memory layouts)" in lines
    assert f"images resized by Pillow {PIL.__version__}" in lines
    unseen = replace(found, runtimes=tuple(replace(each, not_seen="not installed") for each in found.runtimes))
    assert (unseen.passed, unseen.to_dict()["verdict"]) == (False, "refused")


def test_without_a_runtime_nothing_is_proved(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (certificate_module, runtimes):
        monkeypatch.setattr(module, "is_installed", lambda name: False)
    assert [each.name for each in runtime_choices("onnx", {"": b""}, {"outputs": NAMES})] == ["onnxruntime", "openvino"]
    with pytest.raises(JobError, match=re.escape("pip install 'resnets[onnx,openvino]'")):
        certify(Path("x"), "onnx", {"": b""}, {}, "model.safetensors", evidence)
