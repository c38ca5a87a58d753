"""`resnets.bench` against the JSON of `resnets bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests import exported_files, shaded_shapes, tiny_checkpoint
from tests.in_soak import only_in_soak

import resnets
from resnets.api.bench import bench_rows
from resnets.cli import main
from resnets.errors import UserError


def test_bench_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "a.safetensors", "--backends", "torch", "--precision", "fp32", "-b", "2", "--seconds", "0"]
    assert main.main([*words, "--threads", "1", "--device", "cpu", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.bench(
        "a.safetensors", backends=["torch"], precision="fp32", batch=2, seconds=0, threads=1, device="cpu"
    )
    assert capsys.readouterr().out == ""
    assert set(result.to_dict()) == set(printed)
    assert result.settings == {key: printed[key] for key in result.settings}
    assert [(row.backend, row.batch) for row in result.rows] == [("reference", 2), ("torch", 2)]
    assert len(result.advice) == 1


def test_the_number_of_threads_and_the_random_state_stay(folder: Path) -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    resnets.bench("tiny", backends=["torch"], precision="fp32", batch=1, imgsz=32, seconds=0, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(UserError, match="`batch` must be 1 or more"):
        resnets.bench("tiny", batch=0)


def test_a_segmenter_is_measured_by_the_pixels_that_change() -> None:
    settings = {"backends": ["torch"], "precision": "fp32", "seconds": 0, "threads": 1, "device": "cpu"}
    result = resnets.bench("light_tiny", batch=[1], imgsz=64, **settings)
    assert [(row.backend, row.failure) for row in result.rows] == [("reference", ""), ("torch", "")]
    agreement = result.rows[1].agreement
    assert agreement is not None
    assert agreement.quantity == "the part of the pixels with another class"
    assert agreement.difference < 1e-3


@pytest.mark.parametrize("name", ["fasterrcnn_light_tiny", "yolov3_light_tiny"])
def test_a_detector_is_measured_at_the_size_of_its_images(name: str) -> None:
    settings = {"backends": ["torch"], "precision": "fp32", "seconds": 0, "threads": 1, "device": "cpu"}
    result = resnets.bench(name, batch=[1, 3], imgsz=64, **settings)
    assert (result.settings["weights"], result.settings["imgsz"]) == ("random", 64)
    assert [(row.backend, row.batch, row.failure) for row in result.rows] == [
        (backend, batch, "") for batch in (1, 3) for backend in ("reference", "torch")
    ]
    agreements = [row.agreement for row in result.rows]
    assert all(each is not None and (each.images, each.quantity) == (4, "a score") for each in agreements)
    assert all(row.images_per_second > 0 for row in result.rows)


def test_the_usual_size_of_a_detector() -> None:
    settings, rows = bench_rows("yolov3_light_tiny", backends=["torch"], batch=1)
    assert (settings["imgsz"], settings["weights"]) == (320, "random")
    del rows  # which would begin to measure
    with pytest.raises(UserError, match="There is no detector 'yolov3_tinny'"):
        bench_rows("yolov3_tinny", batch=1)


@only_in_soak("20 s")
def test_the_int8_file_that_passed_is_a_row_and_is_never_the_advice() -> None:
    pytest.importorskip("nncf")
    shaded_shapes.quantized()
    file = shaded_shapes.checkpoint_file()
    settings = {"backends": ["openvino"], "seconds": 0, "threads": 1, "device": "cpu", "batch": 2}
    result = resnets.bench(file, precision="int8", **settings)
    assert [str(row) for row in result.rows] == ["reference fp32", "openvino int8"]
    agreement = result.rows[1].agreement
    assert agreement is not None
    assert agreement.images == 32
    assert 0 < agreement.difference < 0.2
    assert not result.rows[1].is_close
    assert "precision=int8" not in result.advice[0]
    assert [str(row) for row in resnets.bench(file, **settings).rows][-1] == "openvino int8"
    with pytest.raises(UserError, match="resnets quantize"):
        resnets.bench(exported_files.checkpoint_file(), precision="int8", **settings)


@only_in_soak("10 s")
def test_a_file_that_resizes_is_measured_at_the_size_of_its_network() -> None:
    """Its images may have any size."""
    file = exported_files.exported("onnx", "full")
    for imgsz, expected in ((None, tiny_checkpoint.SIZE[1]), (70, 70)):
        settings, rows = bench_rows(file, backends=["onnxruntime"], imgsz=imgsz, seconds=0, batch=2)
        assert settings["imgsz"] == expected
        assert settings["size"] == [imgsz or tiny_checkpoint.SIZE[0], expected]
        assert [row.failure for row in rows] == [""]


def test_an_exported_file_is_measured_in_each_runtime() -> None:
    settings = {"seconds": 0, "threads": 1, "batch": 2}
    result = resnets.bench(exported_files.exported("onnx"), **settings)
    assert [str(row) for row in result.rows] == ["onnxruntime fp32", "openvino fp32"]
    agreement = result.rows[1].agreement
    assert agreement is not None
    assert agreement.difference < 1e-4
    assert result.advice == []
    result = resnets.bench(exported_files.exported("openvino"), **settings)
    assert [str(row) for row in result.rows] == ["openvino fp32"]
    with pytest.raises(UserError, match="is computed in fp32; received `precision=int8`"):
        resnets.bench(exported_files.exported("openvino"), precision="int8", **settings)
    with pytest.raises(UserError, match="is computed by openvino; received `backend=torch`"):
        resnets.bench(exported_files.exported("openvino"), backends=["torch"], **settings)
