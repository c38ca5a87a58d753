"""An exported file as a checkpoint: the same predictions, and what it cannot do is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from tests import exported_files
from tests.in_soak import only_in_soak
from tests.tiny_checkpoint import NAMES, colored_images

import resnets
from resnets.tasks.exported.exported_model import ExportedModel

IMAGES = colored_images(5)
KINDS = [("onnx", "onnxruntime"), ("onnx", "openvino"), ("openvino", "auto")]


@pytest.mark.parametrize(("to", "backend"), KINDS)
def test_it_predicts_and_embeds_as_the_checkpoint_does(to: str, backend: str) -> None:
    model = resnets.load(exported_files.checkpoint_file(), "cpu", precision="fp32")
    file = resnets.load(exported_files.exported(to), backend=backend)
    assert isinstance(file, ExportedModel)
    assert file.class_names == NAMES
    for found, expected in zip(file.predict(IMAGES, batch=2), model.predict(IMAGES), strict=True):
        assert [label for label, _ in found.top] == [label for label, _ in expected.top]
        assert found.probability == pytest.approx(expected.probability, abs=1e-5)
    vectors = model.embed(IMAGES).vectors
    assert np.abs(file.embed(IMAGES).vectors - vectors).max() < 1e-5 * np.abs(vectors).max()


@pytest.mark.parametrize(("to", "backend"), [*KINDS[:2], pytest.param(*KINDS[2], marks=only_in_soak("12 s"))])
def test_a_file_that_resizes_predicts_and_has_the_heat_maps_of_the_checkpoint(to: str, backend: str) -> None:
    model = resnets.load(exported_files.checkpoint_file(), "cpu", precision="fp32")
    file = resnets.load(exported_files.exported(to, "full"), backend=backend)
    for found, expected in zip(file.predict(IMAGES, batch=2), model.predict(IMAGES), strict=True):
        assert [label for label, _ in found.top] == [label for label, _ in expected.top]
        assert found.probability == pytest.approx(expected.probability, abs=1e-3)
    assert file.describe_input() == model.describe_input()
    sharp = np.random.default_rng(0).integers(0, 256, (67, 103, 3), dtype=np.uint8)  # is cropped, and not resized
    for name in (None, *NAMES):
        heatmap, reference = file.heatmap(sharp, name), model.heatmap(sharp, name)
        assert (heatmap.class_name, heatmap.box, heatmap.size) == (reference.class_name, reference.box, reference.size)
        assert heatmap.is_exact
        np.testing.assert_allclose(heatmap.values, reference.values, atol=1e-4, rtol=0)
        assert heatmap.offset == pytest.approx(reference.offset, abs=1e-4)
    (prediction,) = file.predict(sharp, heatmap=True)
    assert [each.class_name for each in prediction.heatmaps] == [prediction.label]


def test_it_is_evaluated_as_the_checkpoint_is(tmp_path: Path) -> None:
    for number, image in enumerate(IMAGES):
        path = tmp_path / "data" / "test" / NAMES[number % 3 if number % 3 != 1 else 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    expected = resnets.evaluate(exported_files.checkpoint_file(), tmp_path / "data", device="cpu")
    found = resnets.evaluate(exported_files.exported("openvino"), tmp_path / "data")
    assert found.metrics["count"] == len(IMAGES)
    assert found.metrics["loss"] == pytest.approx(expected.metrics["loss"], abs=1e-5)
    assert found.models[0].results()["backend"] == "openvino"


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(resnets.UserError) as error:
        resnets.load(path, **options)
    return str(error.value)


def test_what_it_cannot_do_is_one_line() -> None:
    onnx, folder = (exported_files.exported(to) for to in ("onnx", "openvino"))
    assert "computed on the CPU" in refusal(onnx, device="cuda")
    assert "computed in fp32; received `precision=bf16`" in refusal(onnx, precision="bf16")
    assert "onnxruntime or openvino; received `backend=torch`" in refusal(onnx, backend="torch")
    assert "computed by openvino; received `backend=onnxruntime`" in refusal(folder, backend="onnxruntime")
    assert "runs code" in refusal(exported_files.exported("torch"))
    with pytest.raises(resnets.UserError, match="has no layer 'stage1'"):
        resnets.load(onnx).embed(IMAGES[:1], layer="stage1")
    with pytest.raises(resnets.UserError, match="exported without heat maps: export it with `heatmap`"):
        resnets.load(onnx).heatmap(IMAGES[0])
    with pytest.raises(resnets.UserError, match="was exported for images of 61x45; received 64x64"):
        resnets.load(onnx).outputs([resnets.Preprocess.imagenet(64)(IMAGES[0])])
    with pytest.raises(resnets.UserError, match="resizes images itself, to one view"):
        resnets.evaluate(exported_files.exported("onnx", "full"), "digits", scales=[64])
    with pytest.raises(resnets.UserError, match="exported from"):
        resnets.convert(folder, to="timm", out="never.safetensors")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_file_that_is_not_what_its_metadata_say_is_refused(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "lies.onnx"

    def lie(change: Callable[[dict[str, Any]], object], name: str = "logits") -> str:
        model = onnx.load(exported_files.exported("onnx"))
        own = model.metadata_props[0]
        assert own.key == "resnets"
        values = json.loads(own.value)
        change(values)
        own.value = json.dumps(values)
        names = [output.name for output in model.graph.output]
        model.graph.output[names.index("logits")].name = name
        for node in model.graph.node:
            for values_of_node in (node.input, node.output):
                values_of_node[:] = [name if each == "logits" else each for each in values_of_node]
        path.write_bytes(model.SerializeToString())
        message = refusal(path, backend=backend)
        assert str(path) in message
        assert "\n" not in message
        return message

    def name_classes(count: int) -> Callable[[dict[str, Any]], None]:
        def change(values: dict[str, Any]) -> None:
            values["checkpoint"]["class_names"] = list("abcde"[:count])
            values["checkpoint"]["spec"]["num_classes"] = count

        return change

    for count in (3, 5):
        expected = f"output 'logits' should have the shape (?, {count}) and has the shape (?, 4)"
        assert expected in lie(name_classes(count))
    assert "output 'logits' should have the shape (?, 4) and has none" in lie(lambda values: None, "other")
    assert "output 'lost' should have none" in lie(lambda values: values.update(outputs=["logits", "lost"]))
    assert "one of float32, and its graph has uint8" in lie(lambda values: values.update(input="none"))
    assert "input should have the shape (?, 33, 61, 3)" in lie(lambda values: values.update(size=[33, 61]))
