"""Freshly made weights have the variance that their paper asks for, layer by layer."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from resnets.models import initialization, zoo

KAIMING = [
    "resnet50",
    "resnet50_v2",
    "resnext50_32x4d",
    "se_resnet18",
    "plain18",
    "cifar_resnet56",
    "wrn_16_8",
    "cifar_highway20",
]
XAVIER = ["keras_resnet50", "keras_resnet50v2", "tutorial_resnet50", "notes_basic_resnet"]


def convolutions(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(key, module) for key, module in net.named_modules() if isinstance(module, nn.Conv2d)]


def tolerance(weight: torch.Tensor) -> float:
    """Five standard errors of the variance of so many normal numbers, relative."""
    return 5 * math.sqrt(2 / weight.numel())


def shallow(name: str) -> nn.Module:
    """The network with two blocks a stage, which the others repeat."""
    return zoo.build(name, num_blocks=tuple(min(number, 2) for number in zoo.get_spec(name).num_blocks))


@pytest.mark.parametrize("name", KAIMING)
def test_the_kaiming_variance_is_two_over_the_fan_out(name):
    torch.manual_seed(0)
    net = shallow(name)
    attention = {id(module) for each in net.modules() if hasattr(each, "reduce") for module in each.modules()}
    checked = 0
    for key, module in convolutions(net):
        if id(module) in attention:
            continue
        weight = module.weight.double()
        out, _, *kernel = weight.shape
        wanted = 2 / (out * math.prod(kernel))
        assert abs(weight.mean()) < 5 * math.sqrt(wanted / weight.numel()), key
        assert weight.var().item() == pytest.approx(wanted, rel=tolerance(weight)), key
        # A normal distribution, not a uniform one of the same variance, whose kurtosis would be 1.8.
        if weight.numel() > 10_000:
            assert ((weight**4).mean() / weight.var() ** 2).item() == pytest.approx(3, abs=0.3), key
        checked += 1
    assert checked >= sum(min(number, 2) for number in zoo.get_spec(name).num_blocks)


@pytest.mark.parametrize("name", XAVIER)
def test_xavier_is_uniform_within_its_bound(name):
    torch.manual_seed(0)
    for key, module in shallow(name).named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight = module.weight
        field = weight[0, 0].numel() if weight.dim() == 4 else 1
        bound = math.sqrt(6 / (field * (weight.shape[0] + weight.shape[1])))
        assert weight.abs().max() <= bound, key
        assert weight.abs().max() > 0.99 * bound, key
        assert weight.var().item() == pytest.approx(bound**2 / 3, rel=tolerance(weight)), key
        if module.bias is not None:
            assert not module.bias.any(), key


@pytest.mark.parametrize("name", [*KAIMING, *XAVIER, "resnet50d", "cbam_resnet18"])
def test_norms_start_as_the_identity(name):
    for key, module in shallow(name).named_modules():
        if isinstance(module, nn.BatchNorm2d) and not key.endswith("attention.norm"):
            assert bool((module.weight == 1).all()), key
            assert bool((module.bias == 0).all()), key


@pytest.mark.parametrize("depth", [20, 32, 56, 110])
def test_a_highway_starts_by_passing_its_input_through(depth):
    """Srivastava et al. 2015, sec. 2.2 and 4: a negative bias, the more so the deeper the network is."""
    net = zoo.build(f"cifar_highway{depth}")
    biases = [module.gate.bias for module in net.modules() if hasattr(module, "gate_bias")]
    assert len(biases) > depth / 3
    for bias in biases:
        assert torch.unique(bias).tolist() == [zoo.get_spec(f"cifar_highway{depth}").gate_bias]


def test_the_signal_keeps_its_size_through_a_plain_network():
    """What the variance is for: the gradient of the 34-layer plain network neither vanishes nor explodes."""
    torch.manual_seed(0)
    net = zoo.build("plain34", num_classes=10)
    net(torch.randn(8, 3, 64, 64)).sum().backward()
    first, last = (dict(convolutions(net))[key].weight.grad for key in ("stem.conv", "stage4.block3.branch.conv2"))
    assert 1e-3 < (first.norm() / last.norm()).item() < 1e3


def test_the_seed_decides():
    torch.manual_seed(3)
    one = zoo.build("tiny").state_dict()
    torch.manual_seed(3)
    two = zoo.build("tiny").state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_shapes_alone_need_no_compiler():
    """torch draws normal numbers on "meta" with code that imports its compiler, and Triton with it. Triton's LLVM aborts a
    process that has TensorFlow's, such as one that uses `resnets.keras` on TensorFlow."""
    code = (
        "import sys, torch; from resnets.models import zoo\n"
        "with torch.device('meta'):\n    for name in sys.argv[1:]: zoo.build(name)\n"
        "print(*{'torch._dynamo', 'triton'} & set(sys.modules))"
    )
    names = ["resnet18", "keras_resnet50", "cbam_resnet18", "cifar_highway20", "notes_basic_resnet"]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("block", ["gated", "gated_shortcut"])
def test_the_gates_of_a_gated_shortcut_start_at_their_bias(block):
    net = zoo.build("cifar_resnet20", block=block, gate_bias=-6.0)
    gates = [module.gate for module in net.modules() if hasattr(module, "gate")]
    assert len(gates) == 9
    assert {value for gate in gates for value in gate.bias.tolist()} == {-6.0}
    assert all(gate.weight.any() for gate in gates)


def test_small_normal_has_a_standard_deviation_of_one_hundredth():
    torch.manual_seed(0)
    for _, module in convolutions(zoo.build("cifar_plain20", initialization="small_normal")):
        assert module.weight.double().var().item() == pytest.approx(1e-4, rel=tolerance(module.weight))


@pytest.mark.parametrize(
    "changes", [{}, {"norm": "none"}, {"branch": "bottleneck", "mid_channels": (4, 8, 16)}], ids=str
)
def test_looks_linear_is_a_linear_function_of_the_images(changes):
    """With all its ReLUs."""
    torch.manual_seed(0)
    net = zoo.build("cifar_plain20", initialization="looks_linear", num_blocks=(1, 1, 1), **changes).double().eval()
    x, y = torch.randn(2, 2, 3, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        size = net(x).abs().max()
        assert size > 1e-3
        assert (net(2 * x - 3 * y) - (2 * net(x) - 3 * net(y))).abs().max() < 1e-12 * size
        initialization.kaiming_(net)
        assert (net(2 * x - 3 * y) - (2 * net(x) - 3 * net(y))).abs().max() > 1e-3 * size


def test_looks_linear_has_the_variance_of_kaiming_for_half_the_channels():
    torch.manual_seed(0)
    net = zoo.build("cifar_plain20", initialization="looks_linear", norm="none").double()
    weight = net.stage3.block2.branch.conv1.weight
    assert weight.var().item() == pytest.approx(2 / (9 * 32), rel=2 * tolerance(weight))
    assert torch.equal(weight[:32, :32], -weight[32:, :32])
    assert torch.equal(weight[:, :32], -weight[:, 32:])


def test_all_initializations_leave_biases_at_zero():
    for initialize in (initialization.kaiming_, initialization.xavier_, initialization.small_normal_):
        made = nn.Conv2d(3, 4, 3)
        initialize(made)
        assert made.bias.abs().sum() == 0
        assert made.weight.abs().sum() > 0


def test_dirac_kernels_copy_their_input_and_the_logits_are_small():
    torch.manual_seed(0)
    net = zoo.build("cifar_fast")
    for name, conv in convolutions(net):
        images = torch.randn(2, conv.in_channels, 5, 5)
        if name != "stem.conv":
            assert torch.allclose(conv(images)[:, : conv.in_channels], images, atol=1e-6), name
    assert float(net.head.fc.weight.detach().std()) == pytest.approx(1 / 256)
    assert not net.head.fc.bias.any()
