"""The blocks that He et al. 2016 compares, each against a few lines over the same tensors, in float64 and on odd sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests import narrow_networks
from torch import Tensor, nn

from resnets.models import zoo
from resnets.models.blocks import ResidualBlock
from resnets.models.resnet import ResNet
from resnets.models.variants.block_variants import BatchStochasticDepth

Net = dict[str, Tensor]
SIZE = (33, 35)


def conv(net: Net, path: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = net[f"{path}.weight"]
    return F.conv2d(x, weight, net.get(f"{path}.bias"), stride, weight.shape[-1] // 2)


def norm(net: Net, path: str, x: Tensor) -> Tensor:
    weight, bias, mean, variance = (
        net[f"{path}.{name}"][:, None, None] for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def branch(net: Net, path: str, x: Tensor, stride: int) -> Tensor:
    """3x3, norm, ReLU, 3x3, norm."""
    x = norm(net, f"{path}.branch.norm1", conv(net, f"{path}.branch.conv1", x, stride)).relu()
    return norm(net, f"{path}.branch.norm2", conv(net, f"{path}.branch.conv2", x))


def option_a(x: Tensor, channels: int, stride: int) -> Tensor:
    x = x[:, :, ::stride, ::stride]
    return torch.cat((x, x.new_zeros(len(x), channels - x.shape[1], *x.shape[2:])), dim=1)


def gate(net: Net, path: str, x: Tensor, stride: int) -> Tensor:
    """1 / (1 + exp(-(W x + b))) with W a matrix, since a 1x1 convolution is one at each position."""
    weight, bias = net[f"{path}.gate.weight"][:, :, 0, 0], net[f"{path}.gate.bias"]
    rows = torch.einsum("oc,nchw->nohw", weight, x[:, :, ::stride, ::stride])
    return 1 / (1 + (-(rows + bias[:, None, None])).exp())


Step = Callable[[Net, str, Tensor, Tensor, int], Tensor]  # net, path, x, shortcut(x), stride


def scaled(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    return (branch(net, path, x, stride) * 0.75 + way * 0.25).relu()


def gated(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    g = gate(net, path, x, stride)
    return (way + g * (branch(net, path, x, stride) - way)).relu()


def gated_shortcut(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    return (branch(net, path, x, stride) + way - gate(net, path, x, stride) * way).relu()


def norm_after(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    y = norm(net, f"{path}.branch.norm2", conv(net, f"{path}.branch.conv1", x, stride)).relu()
    return norm(net, f"{path}.norm", conv(net, f"{path}.branch.conv2", y) + way).relu()


def act_before(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    return branch(net, path, x, stride).relu() + way


def act_only(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    return branch(net, path, x.relu(), stride) + way


def dropped(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    return (branch(net, path, x, stride) + way * 0.75).relu()


def without_norm(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    y = conv(net, f"{path}.branch.conv1", x, stride).relu()
    return (conv(net, f"{path}.branch.conv2", y) + way).relu()


def batch_drop(net: Net, path: str, x: Tensor, way: Tensor, stride: int) -> Tensor:
    number = ("stage1.block1", "stage2.block1", "stage3.block1").index(path) + 1
    renamed = {key.replace(".branch.branch.", ".branch."): tensor for key, tensor in net.items()}
    return ((1 - 0.6 * number / 3) * branch(renamed, path, x, stride) + way).relu()


CASES: dict[str, tuple[dict[str, Any], Step]] = {
    "scaled": ({"block": "scaled", "shortcut_scale": 0.25, "branch_scale": 0.75}, scaled),
    "gated": ({"block": "gated", "gate_bias": -1.0}, gated),
    "gated_shortcut": ({"block": "gated_shortcut", "gate_bias": -1.0}, gated_shortcut),
    "norm_after": ({"block": "norm_after"}, norm_after),
    "act_before": ({"block": "act_before"}, act_before),
    "act_only": ({"block": "act_only"}, act_only),
    "dropped": ({"shortcut_dropout": 0.25}, dropped),
    "no norm": ({"norm": "none"}, without_norm),
    "batch drop": ({"drop_path_rate": 0.6, "drop_path_by": "batch"}, batch_drop),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_network_of_such_blocks_computes_their_equation(case: str) -> None:
    changes, step = CASES[case]
    net, x = network(**changes), narrow_networks.images(SIZE)
    tensors = net.state_dict()
    y = conv(tensors, "stem.conv", x)
    y = (y if case == "no norm" else norm(tensors, "stem.norm", y)).relu()
    for path, channels, stride in (("stage1.block1", 8, 1), ("stage2.block1", 12, 2), ("stage3.block1", 16, 2)):
        y = step(tensors, path, y, option_a(y, channels, stride), stride)
    y = y.relu() if case == "act_only" else y
    found = net.forward_features(x)
    assert found.shape == y.shape == (len(x), 16, 9, 9)
    torch.testing.assert_close(found, y, rtol=1e-12, atol=1e-12)
    y = F.linear(y.mean((2, 3)), tensors["head.fc.weight"], tensors["head.fc.bias"])
    torch.testing.assert_close(net(x), y, rtol=1e-12, atol=1e-12)


def network(**changes: Any) -> ResNet:
    """With one block a stage, in float64, and norms that no computation could leave out."""
    net = narrow_networks.network("cifar_resnet20", **changes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return net


def same_weights(**changes: Any) -> tuple[ResNet, ResNet]:
    """A network of a variant and the original, with the same tensors; gates keep their own."""
    changed, original = network(**changes), network()
    own = {key: tensor for key, tensor in changed.state_dict().items() if key in original.state_dict()}
    original.load_state_dict(own)
    return changed, original


@torch.no_grad()
def test_factors_of_one_give_the_original_bit_for_bit() -> None:
    changed, original = same_weights(block="scaled")
    x = narrow_networks.images(SIZE)
    assert torch.equal(changed(x), original(x))


@pytest.mark.parametrize(("bias", "bound"), [(-20.0, 1e-8), (-6.0, None)])
@torch.no_grad()
def test_a_shortcut_whose_gate_is_closed_is_that_of_the_original(bias: float, bound: float | None) -> None:
    changed, original = same_weights(block="gated_shortcut")
    for module in changed.modules():
        if hasattr(module, "gate"):
            module.gate.weight.zero_()
            module.gate.bias.fill_(bias)
    x = narrow_networks.images(SIZE)
    difference = (changed(x) - original(x)).abs().max() / original(x).abs().max()
    assert (difference < bound) if bound else (difference > 1e-5)


@torch.no_grad()
def test_an_exclusive_gate_passes_the_shortcut_or_the_branch() -> None:
    net = network(block="gated")
    block, x = net.stage2.block1, torch.randn(2, 8, 9, 9, dtype=torch.float64)
    block.gate.weight.zero_()
    block.gate.bias.fill_(-1e9)
    assert torch.equal(block(x), block.shortcut(x).relu())
    block.gate.bias.fill_(1e9)
    assert torch.equal(block(x), block.branch(x).relu())


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("norm_after", "dropped")])
def test_no_block_writes_into_its_input(case: str) -> None:
    block = network(**CASES[case][0]).train().stage1.block1
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


class TestBatchStochasticDepth:
    """Huang et al. 2016, equations 2 and 5."""

    def block(self, rate: float) -> tuple[ResidualBlock, list[int]]:
        """A block in training whose branch counts its calls."""
        torch.manual_seed(0)
        branch = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        calls: list[int] = []
        branch.register_forward_hook(lambda *_: calls.append(1))
        return ResidualBlock(BatchStochasticDepth(branch, rate), nn.Identity(), nn.ReLU, 3, 1).double(), calls

    def test_a_dropped_branch_is_not_computed_and_has_gradients_of_zero(self) -> None:
        block, calls = self.block(1.0)
        x = torch.randn(4, 3, 5, 7, dtype=torch.float64, requires_grad=True)
        y = block(x)
        assert torch.equal(y, x.relu())
        assert not calls
        y.sum().backward()
        assert torch.equal(x.grad, (x > 0).double())
        assert all(parameter.grad is not None and not parameter.grad.any() for parameter in block.parameters())
        assert int(block.branch.branch[1].num_batches_tracked) == 0

    def test_it_is_the_whole_batch_that_is_dropped_or_kept_undivided(self) -> None:
        block, calls = self.block(0.3)
        x = torch.randn(4, 3, 5, 7, dtype=torch.float64)
        kept = (block.branch.branch(x) + x).relu()
        calls.clear()
        dropped = 0
        for _ in range(400):
            y = block(x)
            dropped += torch.equal(y, x.relu())
            assert torch.equal(y, x.relu()) or torch.equal(y, kept)
        assert dropped == 400 - len(calls)
        assert 0.3 * 400 - 3.5 * 84**0.5 < dropped < 0.3 * 400 + 3.5 * 84**0.5

    def test_evaluation_multiplies_by_the_probability_of_survival(self) -> None:
        block, _ = self.block(0.3)
        block.eval()
        x = torch.randn(4, 3, 5, 7, dtype=torch.float64)
        torch.testing.assert_close(block(x), (0.7 * block.branch.branch(x) + x).relu(), rtol=0, atol=1e-15)

    @pytest.mark.parametrize("training", [True, False])
    def test_a_rate_of_zero_is_the_network_without(self, training: bool) -> None:
        plain = network().train(training)
        net = network(drop_path_rate=0.5, drop_path_by="batch").train(training)
        net.load_state_dict(
            {key.replace(".branch.", ".branch.branch."): value for key, value in plain.state_dict().items()}
        )
        for module in net.modules():
            if isinstance(module, BatchStochasticDepth):
                module.rate = 0.0
        x = narrow_networks.images(SIZE)
        assert torch.equal(net(x), plain(x))

    def test_the_rates_grow_linearly(self) -> None:
        net = zoo.build("cifar_resnet20", drop_path_rate=0.5, drop_path_by="batch")
        rates = [module.rate for module in net.modules() if isinstance(module, BatchStochasticDepth)]
        assert rates == pytest.approx([0.5 * number / 9 for number in range(1, 10)])

    def test_the_multiply_adds_of_dropped_branches_are_saved(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        def flops(rate: float) -> int:
            net = zoo.build("cifar_resnet20", drop_path_rate=0.5, drop_path_by="batch")
            for module in net.modules():
                if isinstance(module, BatchStochasticDepth):
                    module.rate = rate
            with FlopCounterMode(display=False) as counter:
                net(torch.randn(2, 3, 32, 32)).sum().backward()
            return counter.get_total_flops()

        # What is left of 40.6 million multiply-adds: 442,368 of the stem and 640 of the head, and twice as much backward; the
        # gradient of the image is not computed.
        assert flops(1.0) == 2 * 2 * (2 * 442_368 + 3 * 640)
        assert flops(0.0) > 80 * flops(1.0) / 2
