"""Batch normalization folded into the convolution before it: in evaluation both are linear, and one layer does for two.

    norm(conv(x)) = g (W x + b - m) / s + h = (g W / s) x + (g (b - m) / s + h),   s = sqrt(variance + eps)

A norm is folded where it reads a convolution that nothing else reads. In a pre-activation network a norm may read a sum,
or a map that the shortcut reads too: such a norm stays.
"""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from resnets.models.resnet import Head, ResNet


class Body(nn.Module):
    """A network without its classifier: (N, C, H, W) -> the pooled vectors, (N, features)."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.forward_pooled(x)


def classify(head: Head, pooled: Tensor) -> Tensor:
    """Logits (N, classes) of pooled vectors (N, features)."""
    return head(pooled)


def fold(module: nn.Module) -> fx.GraphModule:
    """A copy of `module`, in eval mode, with every norm folded that can be; it computes what `module.eval()` does."""
    twin = copy.deepcopy(module).eval()
    graph = _Tracer().trace(twin)
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        norm = _called(twin, node)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        before = node.args[0]
        conv = _called(twin, before)
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1 and calls[before.target] == calls[node.target] == 1:
            _fold(conv, norm)
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    made = fx.GraphModule(twin, graph)
    made.delete_all_unused_submodules()
    return made


class _Tracer(fx.Tracer):
    """Convolutions and norms stay whole, those of classes of our own as well."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, nn.Conv2d | nn.BatchNorm2d) or super().is_leaf_module(module, qualified_name)


def _called(root: nn.Module, node: object) -> nn.Module | None:
    """The module that this node calls, if it calls one."""
    if isinstance(node, fx.Node) and node.op == "call_module":
        return root.get_submodule(str(node.target))
    return None


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """In float64, since a small variance makes large factors."""
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
    conv.weight, conv.bias = (nn.Parameter(each.to(conv.weight.dtype), requires_grad=False) for each in (weight, bias))
