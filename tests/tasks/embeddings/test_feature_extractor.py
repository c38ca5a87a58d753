"""The vector of an image at any layer, of models of several tasks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import resnets
from resnets.errors import UserError
from resnets.inference import backends
from resnets.tasks.embeddings.feature_extractor import TOLERANCE, is_traceable, vector_graph

DETECTOR = "fasterrcnn_light_tiny"


def made(name: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    net = resnets.create_model(name, num_classes=3, **settings).eval()
    generator = torch.Generator().manual_seed(1)
    for key, tensor in net.state_dict().items():
        if key.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return net


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["tiny", "notes_basic_resnet"])
@torch.inference_mode()
def test_the_pooled_vector_is_what_the_head_receives(name: str) -> None:
    net = made(name, **({"imgsz": 224} if name == "notes_basic_resnet" else {}))
    x = images() if name == "tiny" else torch.rand(1, 3, 224, 224)
    graph = vector_graph(net)
    assert torch.equal(net.head(graph.model(x)), net(x))


@torch.inference_mode()
def test_layers_are_those_of_the_network() -> None:
    net = made("resnet50_v2", num_blocks=(1, 1, 1, 1))
    x = images()
    raw = net.forward_intermediates(x, intermediates_only=True)
    inner = net.stage2.block1.branch
    before: list[Tensor] = []
    handle = inner.conv2.register_forward_hook(lambda module, inputs, output: before.append(output))
    net(x)
    handle.remove()
    for layer, wanted in (
        ("stage2", raw[2].mean((2, 3))),
        ("stage4", raw[4].mean((2, 3))),  # before the norm and activation that follow the blocks
        ("final", net.forward_features(x).mean((2, 3))),
        ("stage2.block1.branch.conv2", before[0].mean((2, 3))),
        ("head", net(x)),
    ):
        assert torch.allclose(vector_graph(net, layer).model(x), wanted, atol=1e-6), layer
        assert is_traceable(net, layer) == (layer in ("stage2", "stage4")), layer


@pytest.mark.parametrize("name", [DETECTOR, "unet_tiny"])
@torch.inference_mode()
def test_a_model_of_another_task_gives_the_average_of_its_backbones_last_map(name: str) -> None:
    model = made(name)
    x = images()
    wanted = model.backbone.forward_features(x).mean((2, 3))
    assert torch.equal(vector_graph(model).model(x), wanted)
    for layer in ("stage3", "backbone.stage3"):
        assert torch.equal(vector_graph(model, layer).model(x), wanted)
    block = vector_graph(model, "backbone.stage2.block1").model(x)
    assert block.shape == (2, model.backbone.feature_channels["stage2"])


def test_a_backend_computes_the_same_vectors() -> None:
    net = made("resnet18", num_blocks=(1, 1, 1, 1))
    for layer in ("pooled", "stage2"):
        graph = vector_graph(net, layer)
        reference, backend = backends.reference(graph), backends.build("torch", graph, "fp32", (2, 3, 64, 64))
        agreement = graph.compare(backend(images()), reference(images()))
        assert agreement.difference <= TOLERANCE["fp32"]
        assert graph.compare(backend(images().flip(3)), reference(images())).difference > TOLERANCE["fp32"]


def test_layers_without_a_vector() -> None:
    net = made("tiny")
    with pytest.raises(UserError, match=r"no layer 'stage4'\. Did you mean 'stage[123]'\?.*pooled, stem, stage1"):
        vector_graph(net, "stage4")
    detector = made(DETECTOR)
    layer = next(name for name, module in detector.named_modules() if type(module).__name__ == "FeaturePyramidNetwork")
    with pytest.raises(
        UserError, match="gives no vector and no feature map for each image; for 2 it returned OrderedDict"
    ):
        vector_graph(detector, layer).model(images())
