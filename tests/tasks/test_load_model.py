"""A checkpoint becomes a model that predicts, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.tasks.load_model import load
from resnets.weights import checkpoint as checkpoints


def test_a_loaded_classifier_is_ready(world) -> None:
    classifier = load(world.checkpoint)
    assert not classifier.model.training
    assert classifier.class_names == ("red", "green", "blue")
    assert classifier.preprocess == Preprocess.imagenet(32)
    assert classifier.spec is not None
    assert classifier.spec.name == "tiny"
    assert (classifier.task.fitted, classifier.metrics) == ({"temperature": 1.5}, {"top1": 0.5})
    assert repr(classifier) == f"TrainedModel({world.checkpoint}, classification, images of 32x32)"


def test_a_checkpoint_of_an_unknown_task_is_refused(world, tmp_path: Path) -> None:
    found = checkpoints.read(world.checkpoint)
    checkpoints.save(tmp_path / "boxes.safetensors", replace(found, task="detecton"))
    with pytest.raises(UserError, match="There is no task 'detecton'"):
        load(tmp_path / "boxes.safetensors")
