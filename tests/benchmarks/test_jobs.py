"""The jobs are the ones that were asked for, and their contenders exist."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from jobs import jobs

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

TARGETS = {  # the table of what is aimed at, on two cores
    "predict": {"torchvision script, fp32": 5, "Keras on TensorFlow, fp32": 2.5, "OpenVINO bf16 on ready tensors": 0.9},
    "predict_int8": {"torchvision script, fp32": 10},
    "transfer": {"Keras on TensorFlow, fp32": 15},
    "train_resnet50": {"torchvision script, fp32": 2.6, "Keras on TensorFlow, fp32": 3.5},
    "train_cifar": {"torchvision-style script, fp32": 3},
    "decode": {"Pillow and torchvision, decoded whole": 6},
    "memory": {"itself": 1.05},
    "detection_predict": {"torchvision script, fp32": 4},
    "detection_evaluate": {"torchvision script, fp32": 2.5},
    "detection_train": {"torchvision script, fp32": 2.5},
    "penn_fudan": {"torchvision's tutorial, fp32": 5},
    "segmentation_train": {"segmentation_models_pytorch script, fp32": 2},
    "segmentation_predict": {"segmentation_models_pytorch script, fp32": 3},
    "serve": {"LitServe, 2 workers, batches of 8, fp32": 1.4, "FastAPI, fp32": 2},
    "serve_int8": {"LitServe, 2 workers, batches of 8, fp32": 2.5, "FastAPI, fp32": 4},
}
# What the aim is multiplied by on processors without bf16.
WITHOUT_BF16 = dict.fromkeys(("detection_predict", "detection_evaluate", "detection_train", "penn_fudan"), 0.5)
WITHOUT_BF16["segmentation_train"] = 0.75
WITHOUT_BF16["predict_int8"] = 0.4  # and without VNNI


@pytest.mark.parametrize(("tiny", "bf16"), [(False, False), (True, True)])
def test_every_row_has_its_job_and_its_ratio(tiny, bf16, monkeypatch: pytest.MonkeyPatch):
    """Some are lower without bf16, with which the evaluation of a detector in bf16 is another job."""
    monkeypatch.setattr("jobs.has_bf16", lambda: bf16)
    monkeypatch.setattr("jobs.has_vnni", lambda: bf16)
    wanted = {
        name: {peer: ratio if bf16 else ratio * WITHOUT_BF16.get(name, 1) for peer, ratio in ratios.items()}
        for name, ratios in TARGETS.items()
    }
    wanted |= {"detection_evaluate_bf16": {"torchvision script, fp32": 4}} if bf16 else {}
    found = {
        name: {each.name: each.target for each in job.contenders[1:] if each.target is not None}
        for name, job in jobs(tiny=tiny, flowers=None).items()
    }
    assert found == wanted


def test_memory_is_a_limit_and_the_transfer_compares_accuracies(tmp_path):
    made = jobs(tiny=False, flowers=tmp_path)
    assert [name for name, job in made.items() if job.limit] == ["memory"]
    points = {name: job.points for name, job in made.items() if job.points is not None}
    assert points.pop("transfer") == 1.0
    assert set(points.values()) == {0.2}
    assert all(name.startswith("detection_") for name in points)


def test_the_sizes_are_those_of_the_table(tmp_path):
    made = jobs(tiny=False, flowers=tmp_path)
    assert "2,000 JPEGs with resnet50 at 224" in made["predict"].title
    assert str(tmp_path) in made["transfer"].contenders[1].command
    assert made["transfer"].contenders[1].command[-1] == "10"
    assert "flowers" in made["transfer"].title
    assert "10,000 images and at 1,000" in made["memory"].title


def test_the_other_peers_take_part():
    peers = {each.name for each in jobs(tiny=False, flowers=None)["predict"].contenders}
    assert {"timm script, fp32", "Ultralytics classify, fp32", "ONNX Runtime fp32 on ready tensors"} <= peers


def test_every_contender_is_a_file_and_every_file_a_contender():
    words = (word for job in jobs(tiny=True, flowers=None).values() for each in job.contenders for word in each.command)
    used = {Path(word) for word in words if Path(word).parent == BENCHMARKS / "contenders"}
    assert used == set((BENCHMARKS / "contenders").glob("*.py"))


def test_an_unknown_job_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["run.py", "predikt"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / "run.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "no job 'predikt'; there is predict, transfer" in capsys.readouterr().err
