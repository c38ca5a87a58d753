"""Fold batch normalization into the convolution before it: in evaluation mode both are linear, so one layer replaces two.

    norm(conv(x)) = g (W x + b - m) / s + h = (g W / s) x + (g (b - m) / s + h),   s = sqrt(variance + eps)

A norm is folded where its input is the output of a convolution that nothing else uses. In a pre-activation network, the input
of a norm may be a sum, or be used by the shortcut too: such a norm is not folded. Behind a max pooling of a
convolution, a norm without a trained scale is folded: it is an increasing function, so the largest value stays the largest.
"""

import copy
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from resnets.models.layers import ShiftBatchNorm2d


def fold(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode, with every norm folded that can be. It computes what `module.eval()` computes.

    Where torch.fx cannot trace `module`, no norm is folded.
    """
    copied = copy.deepcopy(module).eval()
    try:
        graph = _Tracer().trace(copied)
    except Exception:  # of any type: Python code does with a traced value what it would do with a tensor
        return copied
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        norm = _called_module(copied, node)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        input = before = node.args[0]
        if isinstance(norm, ShiftBatchNorm2d) and isinstance(_called_module(copied, before), nn.MaxPool2d):
            before = before.args[0] if len(before.users) == 1 else None
        conv = _called_module(copied, before)
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1 and calls[before.target] == calls[node.target] == 1:
            _fold(conv, norm)
            node.replace_all_uses_with(input)
            graph.erase_node(node)
    folded = fx.GraphModule(copied, graph)
    folded.delete_all_unused_submodules()
    return folded


class _Tracer(fx.Tracer):
    """Traces no convolution and no norm, including subclasses from outside torch."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(module, qualified_name)


def _called_module(root: nn.Module, node: object) -> nn.Module | None:
    """The module that this node calls, or None."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return root.get_submodule(str(node.target))
    return None


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Fold `norm` into `conv`, in float64, since a small variance gives large factors."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight.double(),
        None if conv.bias is None else conv.bias.double(),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        None if norm.weight is None else norm.weight.double(),
        None if norm.bias is None else norm.bias.double(),
    )
    own = [nn.Parameter(tensor.to(conv.weight.dtype), requires_grad=False) for tensor in (weight, bias)]
    conv.weight, conv.bias = own
