"""What the gate lets pass, what it refuses, and what is written of it."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import shaded_shapes
from tests.in_soak import only_in_soak
from tests.shaded_shapes import CLASSES, FAST_ENOUGH, MAX_DROP, NUM_CALIBRATION, NUM_TEST, SIDE

import resnets
from resnets.cli.main import main
from resnets.errors import JobError, UserError
from resnets.export.quantization import calibration_images, gate_images, int8_gate, quantize, to_int8
from resnets.export.traced_graph import TracedGraph, write_contents
from resnets.hashing import sha256
from resnets.tasks import load_model
from resnets.tasks.classification.predict_samples import predict_samples
from resnets.tasks.exported import exported_model
from resnets.weights import checkpoint as checkpoints

pytestmark = pytest.mark.skipif(find_spec("nncf") is None, reason="needs nncf")


def test_a_network_passes_on_900_images_and_the_json_file_says_what_was_measured() -> None:
    result = shaded_shapes.quantized()
    assert result.verdict.passed
    result.check_passed()
    checkpoint = shaded_shapes.checkpoint_file()
    assert result.path == checkpoint.with_name("model_int8_openvino")
    assert sorted(path.name for path in result.path.iterdir()) == ["model.bin", "model.xml"]
    gate = json.loads(checkpoint.with_name("model_int8_openvino.gate.json").read_text())
    assert gate == result.details
    assert (gate["verdict"], gate["max_drop"], gate["loss"]["count"]) == ("passed", MAX_DROP, NUM_TEST)
    assert gate["loss"]["interval"][1] <= MAX_DROP
    assert gate["loss"]["both"] > 0.99 * NUM_TEST
    assert gate["gain"]["rounds"] == 7
    assert gate["checkpoint_sha256"] == sha256(checkpoint)
    content = (result.path / "model.xml").read_bytes() + (result.path / "model.bin").read_bytes()
    assert gate["file_sha256"] == hashlib.sha256(content).hexdigest()
    assert gate["calibration"]["classes"] == dict.fromkeys(CLASSES, NUM_CALIBRATION // 2)
    assert gate["images"]["split"] == "test"
    assert gate["quantization"]["overflow_fix"] == "enable"
    assert set(gate["versions"]) == {"nncf", "openvino", "resnets", "torch"}
    assert str(checkpoint.parent) not in json.dumps(gate)
    assert not checkpoint.with_name("model_int8_openvino.refused").exists()


def test_the_hashes_of_the_json_file_can_be_computed_by_hand() -> None:
    """Of the images of the gate: the hashes of the files in the order of their paths."""
    gate = shaded_shapes.quantized().details
    files = sorted((shaded_shapes.folder() / "test").glob("*/*.png"))
    text = "".join(f"{sha256(file)}\n" for file in files)
    assert gate["images"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_precision_int8_takes_the_file_that_passed() -> None:
    gate = shaded_shapes.quantized().details
    checkpoint, folder = shaded_shapes.checkpoint_file(), shaded_shapes.folder()
    model = resnets.load(checkpoint, precision="int8")
    assert isinstance(model, exported_model.ExportedModel)
    assert model.file.metadata["precision"] == "int8"
    evaluated = resnets.evaluate(checkpoint, folder, precision="int8")
    right = gate["loss"]["both"] + gate["loss"]["only_int8"]
    assert evaluated.metrics["top1"] == right / NUM_TEST
    assert evaluated.to_dict()["precision"] == "int8"
    files = sorted((folder / "test").glob("*/*.png"))[:5]
    vectors = [resnets.embed(checkpoint, files, precision=each).index.vectors for each in ("int8", "fp32")]
    assert 0 < np.abs(vectors[0] - vectors[1]).max() < 0.2 * np.abs(vectors[1]).max()


def test_without_that_precision_nothing_takes_it() -> None:
    shaded_shapes.quantized()
    for precision in ("auto", "fp32"):
        model = resnets.load(shaded_shapes.checkpoint_file(), precision=precision)
        assert not isinstance(model, exported_model.ExportedModel)


@functools.cache
def traced() -> TracedGraph:
    """The graph that is quantized, traced anew."""
    file = shaded_shapes.checkpoint_file()
    return quantize.graph_to_quantize(file, load_model.load(file, "cpu", precision="fp32"))


@only_in_soak("11 s")
def test_a_calibration_by_dark_noise_is_refused(tmp_path: Path) -> None:
    """Its ranges are those of other images than the network sees."""
    file = shaded_shapes.checkpoint_file()
    model = load_model.load(file, "cpu", precision="fp32")
    random = np.random.default_rng(0)
    noise = [random.integers(0, 10, (1, SIDE, SIDE, 3)).astype(np.uint8) for _ in range(20)]
    write_contents(tmp_path / "dark", to_int8.contents(traced(), "openvino", noise))
    dataset = model.task.read(str(shaded_shapes.folder()), on_inaccessible="error", config=model.task.config)
    samples = dataset.subset("test")[::2]
    before, after = (predict_samples([each], samples) for each in (model, resnets.load(tmp_path / "dark")))
    loss = int8_gate.measure_loss(before, after)
    assert loss.points > 10
    verdict = int8_gate.judge_loss(loss, 0.5)
    assert verdict.name == int8_gate.REFUSED
    assert "(`max_drop`)" in verdict.reason
    assert "'light' loses" in str(loss.classes[0])


def test_too_few_images_prove_nothing_and_the_file_is_kept_as_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = shaded_shapes.quantized()
    few = tmp_path / "few"
    for name in CLASSES:
        (few / name).mkdir(parents=True)
        for file in sorted((shaded_shapes.folder() / "test" / name).iterdir())[:20]:
            shutil.copy(file, few / name)
        shutil.copy(file, few / name / "copy.png")
    words = ["--count", "20", "--format", "onnx", "--min-gain", str(FAST_ENOUGH), "--out", str(tmp_path / "m.onnx")]
    words = ["quantize", str(shaded_shapes.checkpoint_file()), str(shaded_shapes.folder()), *words]
    assert main([*words, "--validation", str(few)]) == 1
    printed = capsys.readouterr()
    assert "not proved: it loses" in printed.out
    assert "gate: 40 images of the whole data (there is no split); 2 images left out as copies of others" in printed.err
    assert "more images are needed to prove it" in printed.err
    assert "--max-drop" in printed.err
    limits = f"--max-drop {MAX_DROP} and --min-gain {FAST_ENOUGH:g} and was {earlier.gain.speedup:.2f} times as fast"
    assert f"warning: --precision int8 still takes '{earlier.path}', which passed with {limits} before" in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few", "m.onnx.refused", "m.onnx.refused.gate.json"]
    gate = json.loads((tmp_path / "m.onnx.refused.gate.json").read_text())
    assert (gate["verdict"], gate["images"]["images"], gate["images"]["left_out_as_copies"]) == ("not proved", 40, 2)
    assert gate["file_sha256"] == sha256(tmp_path / "m.onnx.refused")
    assert gate["quantization"]["reduce_range"] is True
    assert contents_again("onnx", gate["calibration"]) == {"": (tmp_path / "m.onnx.refused").read_bytes()}
    # It is an ordinary exported file all the same.
    (tmp_path / "m.onnx.refused").rename(tmp_path / "renamed.onnx")
    model = resnets.load(tmp_path / "renamed.onnx")
    assert {each.label for each in model.predict([few / "dark", few / "light"][0].glob("*.png"))} == {"dark"}


def test_a_checkpoint_that_is_replaced_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a training that goes on; nothing is written."""
    file = Path(shutil.copy(shaded_shapes.checkpoint_file(), tmp_path / "model.safetensors"))
    choose = gate_images.choose

    def replaced(*arguments: Any, **options: Any) -> gate_images.GateImages:
        content = checkpoints.read(file)
        checkpoints.save(file, replace(content, provenance={**content.provenance, "recipe": "another"}))
        return choose(*arguments, **options)

    monkeypatch.setattr(gate_images, "choose", replaced)
    with pytest.raises(UserError, match="was changed while it was read"):
        resnets.quantize(file, shaded_shapes.folder(), count=4)
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_file_that_is_too_slow_is_refused() -> None:
    loss, gain = shaded_shapes.quantized().loss, shaded_shapes.quantized().gain
    verdict = int8_gate.judge(loss, gain, max_drop=MAX_DROP, min_gain=1e6)
    with pytest.raises(JobError, match=r"refused: it is .* times .*; needed is 1e\+06"):
        quantize.QuantizeResult(Path("x"), verdict, loss, gain, {}).check_passed()


def contents_again(to: str, calibration: Mapping[str, Any]) -> dict[str, bytes]:
    """The file of the checkpoint, made anew with the same images."""
    file = shaded_shapes.checkpoint_file()
    model = load_model.load(file, "cpu", precision="fp32")
    dataset = model.task.read(str(shaded_shapes.folder()), on_inaccessible="error", config=model.task.config)
    chosen = calibration_images.choose(
        dataset.subset("train"), CLASSES, count=calibration["asked"], seed=0, excluded=(), split="the train split"
    )
    assert chosen.to_dict() == calibration
    pixels = calibration_images.load(
        chosen.paths, exported_model.input_preprocess(model.preprocess, "normalize"), "normalize"
    )
    return to_int8.contents(traced(), to, pixels)


@only_in_soak("10 s")
def test_the_same_bytes_twice_and_no_path_of_this_machine() -> None:
    result = shaded_shapes.quantized()
    again = contents_again("openvino", result.details["calibration"])
    assert {path.name: path.read_bytes() for path in result.path.iterdir()} == again
    assert len(again["model.bin"]) < 0.7 * shaded_shapes.checkpoint_file().stat().st_size
    paths = (str(part).encode() for part in (Path.home(), result.path.parent))
    assert not any(path in content for path in paths for content in again.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "`count` must be 1 or more; received 0"),
        ({"max_drop": 0.0}, "`max_drop` is a number of points"),
        ({"min_gain": 0.0}, "`min_gain` is a ratio"),
        ({"to": "tflite"}, "`format` is openvino or onnx; received 'tflite'"),
        ({"to": "onnx", "out": "model.bin"}, "ends in .onnx"),
        ({"images": "train"}, "has no test and no val split"),
        ({"out": "{}"}, "exists and was not exported by resnets"),
        ({"checkpoint": "fasterrcnn_light_tiny.digit_scenes", "out": "x"}, "Only classifiers are quantized"),
        ({"checkpoint": "int8"}, "is an exported model"),
        ({"checkpoint": "x" * 5000}, "cannot be read: File name too long"),
    ],
)
def test_wrong_arguments_leave_no_file(arguments: dict[str, object], message: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {
        "checkpoint": shaded_shapes.checkpoint_file(), "images": shaded_shapes.folder(), "validation": None, "to": "openvino",
        "max_drop": 0.5, "min_gain": 1.2, "count": 10, "seed": 0, "out": None,
    }  # fmt: skip
    values |= arguments
    if values["out"] == "{}":
        values["out"] = shaded_shapes.folder()
    if values["images"] == "train":
        values["images"] = shaded_shapes.folder() / "train"
    if values["checkpoint"] == "int8":
        values["checkpoint"] = shaded_shapes.quantized().path
    with pytest.raises(UserError, match=message.replace("(", "\\(")):
        quantize.quantize(**values)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
