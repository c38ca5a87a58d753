"""What every network of the zoo promises, of networks whose blocks have other shortcuts and other orders of layers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import nn

from resnets.data.image.preprocess import Preprocess
from resnets.export import graph, to_onnx
from resnets.export.trace import trace
from resnets.inference.fold_batchnorm import fold
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.dilation import dilate
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.models.summary import diagram, layer_table
from resnets.recipes.override import override
from resnets.recipes.recipe import Model, Recipe
from resnets.tasks.classification.task import Classification
from resnets.training.setup.build_network import requested_spec
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = ("a", "b", "c")
SIZE = (33, 35)
VARIANTS: list[dict[str, Any]] = [
    {"block": "scaled", "shortcut_scale": 0.5, "branch_scale": 0.25},
    {"block": "gated", "gate_bias": -2.0},
    {"block": "gated_shortcut", "gate_bias": -2.0, "shortcut": "C"},
    {"block": "norm_after", "shortcut": "B"},
    {"block": "norm_after", "branch": "bottleneck", "mid_channels": (4, 4, 4)},
    {"block": "act_before"},
    {"block": "act_only"},
    {"shortcut_dropout": 0.5},
    {"drop_path_rate": 0.5, "drop_path_by": "batch", "attention": "se"},
    {"preactivation": True, "drop_path_rate": 0.5, "drop_path_by": "batch", "shortcut_dropout": 0.5},
    {"norm": "none", "initialization": "small_normal"},
    {"block": "plain", "initialization": "looks_linear"},
]
# Scales, gates at both places, a preactivated block; `make soak` draws all.
DRAWN = (0, 1, 2, 9)


@cache
def made(index: int) -> tuple[ResNetSpec, ResNet]:
    torch.manual_seed(0)
    spec = zoo.get_spec(
        "cifar_resnet20",
        num_classes=3,
        num_blocks=(2, 1, 1),
        stem_channels=8,
        out_channels=(8, 12, 16),
        **VARIANTS[index],
    )
    net = build(spec)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    return spec, net.eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("index", range(len(VARIANTS)), ids=[str(each) for each in VARIANTS])
class TestVariant:
    def test_every_parameter_learns(self, index: int) -> None:
        torch.manual_seed(1)
        spec, _ = made(index)
        twin = build(spec).train()
        # Until each branch was kept once.
        for _ in range(10 if spec.drop_path_rate else 1):
            twin(torch.randn(4, 3, *SIZE)).logsumexp(1).sum().backward()
        weights = {key: value for key, value in twin.named_parameters() if key.endswith("weight")}
        assert [key for key, weight in weights.items() if weight.grad is None or not weight.grad.any()] == []
        assert all(bool(value.grad.isfinite().all()) for value in twin.parameters() if value.grad is not None)

    def test_a_checkpoint_describes_it(self, index: int, tmp_path: Path) -> None:
        spec, net = made(index)
        path = tmp_path / "net.safetensors"
        checkpoints.save(path, Checkpoint(spec, Preprocess.imagenet(32), NAMES, net.state_dict()))
        read = checkpoints.read(path)
        assert read.spec == spec
        with torch.inference_mode():
            assert torch.equal(checkpoints.network(read)(images()), net(images()))

    def test_it_is_traced_scripted_and_folded(self, index: int) -> None:
        _, net = made(index)
        with torch.inference_mode(), torch.jit.optimized_execution(False):
            wanted = net(images())
            assert torch.equal(torch.fx.symbolic_trace(net)(images()), wanted)
            assert torch.equal(torch.jit.script(net)(images()), wanted)
            folded = fold(net)
            torch.testing.assert_close(folded(images()), wanted, rtol=1e-4, atol=1e-5)
        left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        assert (left < norms) or not norms

    def test_its_layers_are_counted_and_drawn(self, index: int, tmp_path: Path) -> None:
        spec, net = made(index)
        rows = layer_table.rows(net, 32)
        assert sum(row.parameters for row in rows) == layer_table.totals(net).parameters
        if not (IN_SOAK or index in DRAWN):
            return
        diagram.draw(net, tmp_path / "net.svg", 32)
        written = (tmp_path / "net.svg").read_text("utf-8")
        assert ("T: 1×1 conv" in written) == spec.block.startswith("gated")
        assert ("× 0.25" in written) == (spec.block == "scaled")

    def test_strides_become_dilation(self, index: int) -> None:
        spec, net = made(index)
        if spec.attention != "none":
            pytest.skip("attention averages over other positions")
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        dilated = dilate(build(spec).eval().backbone(), ["stage2", "stage3"])
        dilated.load_state_dict({key: value for key, value in net.state_dict().items() if not key.startswith("head")})
        with torch.inference_mode():
            torch.testing.assert_close(dilated(x)[:, :, ::4, ::4], net.forward_features(x), rtol=1e-4, atol=1e-5)

    def test_a_recipe_can_name_it(self, index: int) -> None:
        others = ("branch", "mid_channels", "attention", "norm", "initialization")
        changes = {key: value for key, value in VARIANTS[index].items() if key not in others}
        recipe = Recipe(model=Model("cifar_resnet20"))
        for key, value in changes.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            recipe = override(recipe, f"model.{key}={text}")
        found = requested_spec(recipe, Classification, None)
        assert {key: getattr(found, key) for key in changes} == changes


def test_gates_constants_and_dropped_branches_in_onnx_runtime() -> None:
    changes = {"shortcut_dropout": 0.25, "drop_path_rate": 0.5, "drop_path_by": "batch"}
    torch.manual_seed(0)
    net = zoo.build("cifar_resnet20", num_classes=3, num_blocks=(1, 1, 1), block="gated_shortcut", **changes).eval()
    task, preprocess = Classification(NAMES), Preprocess(size=SIZE, resize="stretch")
    built = graph.build(task, net, preprocess, "none")
    program = trace(built, images(), "none", SIZE)
    session = onnxruntime.InferenceSession(to_onnx.convert(program, built.output_names).SerializeToString())
    logits = session.run(["logits"], {"images": images().numpy()})[0]
    with torch.inference_mode():
        assert np.abs(logits - net(images()).numpy()).max() < 1e-5 * np.abs(logits).max()
