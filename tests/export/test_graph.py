"""The heat maps in a graph: those of captum, in ONNX Runtime, and which models have none."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from captum.attr import LayerGradCam
from tests.in_soak import only_in_soak
from tests.narrow_networks import CLASSES, SIZE, images, network

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.export import graph, to_onnx
from resnets.export.trace import trace
from resnets.models.resnet import ResNet
from resnets.tasks.classification.task import Classification

TASK = Classification(tuple(f"class {number}" for number in range(CLASSES)), fitted={"temperature": 2.0})


def build(net: ResNet) -> graph.ExportedGraph:
    return graph.build(TASK, net, Preprocess(size=SIZE, resize="stretch"), "none", heatmap=True)


@pytest.mark.parametrize("name", [pytest.param("cifar_resnet20", marks=only_in_soak("5 s")), "resnet50_v2"])
def test_maps_in_onnx_runtime_are_those_of_captum(name: str) -> None:
    net, x = network(name), images()
    built = build(net)
    program = trace(built, x.float(), "none", SIZE)
    session = onnxruntime.InferenceSession(to_onnx.convert(program, built.output_names).SerializeToString())
    assert [output.name for output in session.get_outputs()] == ["probabilities", "logits", "features", "maps"]
    _, logits, _, maps = (torch.from_numpy(each).double() for each in session.run(None, {"images": x.float().numpy()}))
    last = list(net.children())[-3]  # before pooling and head
    for label in range(CLASSES):
        theirs = LayerGradCam(net, last).attribute(x, target=label)[:, 0]
        torch.testing.assert_close(maps[:, label] / maps[0, 0].numel(), theirs, atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.mean((2, 3)) + net.fc.bias.detach(), logits, atol=1e-4, rtol=0)


def test_what_has_no_exact_map_is_told() -> None:
    with pytest.raises(UserError, match="`heatmap` needs a head of global average pooling and one linear layer"):
        build(network("tiny", head_hidden_dim=7))
