from __future__ import annotations

import importlib

import keras
import pytest

from resnets.weights import checkpoint as checkpoints
from resnets.weights import conversion


def test_it_trains_and_keeps_the_best_in_a_file_that_converts(few_images, example, tmp_path):
    name = "notes_basic_resnet"
    printed = example("notes_resnet.py", few_images, "--model", name, "--epochs", "1", "--batch", "5")
    assert "learning_rate: 0.0010" in printed
    conversion.convert(tmp_path / "notes.keras", to="resnets", out=tmp_path / "notes.safetensors")
    spec = checkpoints.read(tmp_path / "notes.safetensors").spec
    assert (spec.name, spec.num_classes) == (name, 3)


@pytest.mark.usefixtures("beside")
def test_every_kernel_has_its_term_in_the_loss():
    model = importlib.import_module("notes_resnet").build_model("notes_resnet50", 3)
    kernels = [each for each in model.trainable_weights if each.name == "kernel"]
    assert len(model.losses) == len(kernels) == 54
    wanted = sum(1e-4 * float((keras.ops.convert_to_numpy(each) ** 2).sum()) for each in kernels)
    assert sum(float(keras.ops.convert_to_numpy(loss)) for loss in model.losses) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.usefixtures("beside")
def test_the_schedule_lowers_the_rate_that_the_plateau_rule_left(tmp_path):
    schedule = importlib.import_module("notes_resnet").make_callbacks(tmp_path / "best.keras")[0].schedule
    assert [schedule(epoch, 0.5) for epoch in (80, 81, 181, 182)] == pytest.approx([0.5, 0.05, 0.25, 0.5])
