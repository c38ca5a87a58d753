"""Temperature and BGR in the tensors: the answers stay the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights import checkpoint as checkpoints
from resnets.weights.adapt import adapt_checkpoint
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_into_tensors


def tiny(**changes: object) -> Checkpoint:
    torch.manual_seed(0)
    spec = zoo.get_spec("tiny", num_classes=3)
    plain = Checkpoint(
        spec,
        Preprocess.plain(32, (0.5,) * 3, (0.2,) * 3),
        ("a", "b", "c"),
        zoo.build("tiny", num_classes=3).state_dict(),
    )
    return dataclasses.replace(plain, **changes)


IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def probabilities(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        logits = checkpoints.network(checkpoint)(checkpoint.preprocess(IMAGE)[None])
    return (logits / checkpoint.temperature).softmax(1)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.18])
def test_a_folded_temperature_changes_no_probability(temperature: float) -> None:
    checkpoint = tiny(fitted={"temperature": temperature})
    folded = fold_into_tensors.with_temperature(checkpoint)
    assert folded.temperature == 1
    assert (probabilities(folded) - probabilities(checkpoint)).abs().max() < 1e-6
    changed = {name for name, tensor in folded.tensors.items() if not torch.equal(tensor, checkpoint.tensors[name])}
    assert changed == {"head.fc.weight", "head.fc.bias"}
    assert fold_into_tensors.with_temperature(folded) is folded
    assert fold_into_tensors.metadata(checkpoint)["temperature_folded"] == str(temperature)
    assert "temperature_folded" not in fold_into_tensors.metadata(folded)


def test_weights_that_exceed_their_type_are_refused() -> None:
    checkpoint = tiny(fitted={"temperature": 1e-6})
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in checkpoint.tensors.items()
    }
    with pytest.raises(UserError, match="do not fit into float16"):
        fold_into_tensors.with_temperature(dataclasses.replace(checkpoint, tensors=half))


@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess.caffe(32),
        Preprocess.tf(32),
        dataclasses.replace(Preprocess.imagenet(32), color="bgr", std=(0.1, 0.2, 0.3)),
    ],
)
def test_bgr_becomes_rgb(preprocess: Preprocess) -> None:
    checkpoint = tiny(preprocess=preprocess)
    folded = fold_into_tensors.in_rgb(checkpoint)
    assert (folded.preprocess.color, folded.preprocess.scale) == ("rgb", 255)
    wanted = probabilities(checkpoint)
    assert (probabilities(folded) - wanted).abs().max() < 1e-5
    only_one = dataclasses.replace(folded, tensors=checkpoint.tensors)
    assert preprocess.color == "rgb" or (probabilities(only_one) - wanted).abs().max() > 1e-4


def test_a_new_head_has_neither_temperature_nor_metrics() -> None:
    found, _ = adapt_checkpoint(
        tiny(fitted={"temperature": 2.0}, metrics={"top1": 0.9}), num_classes=4, in_channels=None
    )
    assert (found.temperature, dict(found.metrics)) == (1.0, {})
