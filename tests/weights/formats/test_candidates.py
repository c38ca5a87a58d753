"""Whatever tensors a file holds, looking at them ends well or with one line."""

from __future__ import annotations

import contextlib
from functools import cache

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.in_soak import IN_SOAK
from torch import Tensor

from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights.formats import registry, timm
from resnets.weights.formats.keymap import expected_tensors
from resnets.weights.readers.read_any import WeightsFile

MAKERS = {"timm": [timm.spec_of(name) for name in ("resnet18", "resnet50d", "seresnet18", "resnetv2_50")],
          "torchvision": [zoo.get_spec("resnet50"), zoo.get_spec("cifar_resnet20")],
          "huggingface": [zoo.get_spec("resnet18"), zoo.get_spec("resnet50_v1")]}  # fmt: skip


@cache
def tensors(format_: str, number: int) -> dict[str, Tensor]:
    spec = MAKERS[format_][number % len(MAKERS[format_])]
    # Shapes without memory.
    empty = {
        name: torch.empty(value.shape, dtype=value.dtype, device="meta")
        for name, value in expected_tensors(spec).items()
    }
    return registry.find(format_).keymap(spec).from_resnets(empty)


ODD = st.sampled_from(
    ["layer1.0.conv1.weight", "layer7.0.conv1.weight", "layer1.99.conv1.weight", "conv1.weight", "fc.weight",
     "layer1.0.conv3.weight", "layer1.0.conv2.weight", "layer1.0.se.fc1.weight", "conv1.0.weight", "conv1.6.weight",
     "stages.0.blocks.0.conv1.weight", "stages.9.blocks.0.conv1.weight", "stem.conv.weight", "classifier.1.weight",
     "resnet.embedder.embedder.convolution.weight", "", "layer999999999999.0.conv1.weight"]
)  # fmt: skip


@example(format_="timm", number=3, odd={}, dropped=[], container="pickle", config=None)
@example(format_="huggingface", number=0, odd={}, dropped=[], container="safetensors", config=None)
@settings(max_examples=40 if IN_SOAK else 15)
@given(
    format_=st.sampled_from(list(MAKERS)),
    number=st.integers(0, 3),
    odd=st.dictionaries(ODD, st.lists(st.integers(0, 9), max_size=5), max_size=4),
    dropped=st.lists(st.integers(0, 10**6), max_size=4),
    container=st.sampled_from(["pickle", "safetensors"]),
    config=st.sampled_from(
        [None, {}, {"downsample_in_bottleneck": "yes", "id2label": [1]}, [], {"hidden_act": "gelu"}]
    ),
)
def test_every_error_is_a_user_error(format_, number, odd, dropped, container, config) -> None:
    given_tensors = dict(tensors(format_, number))
    for place in dropped:
        given_tensors.pop(list(given_tensors)[place % len(given_tensors)])
    given_tensors |= {name: torch.empty(shape, device="meta") for name, shape in odd.items()}
    weights_file = WeightsFile("none/file", container, given_tensors, {} if config is None else {"config": config})
    found = []
    for module in registry.FORMATS.values():
        with contextlib.suppress(UserError):
            for candidate in module.candidates(weights_file):
                found.append(candidate)
                with contextlib.suppress(UserError):
                    module.keymap(candidate.spec).to_resnets(given_tensors)
    if not odd and not dropped and config is None:
        assert found
