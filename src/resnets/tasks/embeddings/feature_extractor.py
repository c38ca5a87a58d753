"""The vector that a model computes of an image, at any of its layers, as a `StaticGraph`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.message_format import pluralize, suggestion
from resnets.models.backbone import Backbone
from resnets.models.resnet import PooledBackbone, ResNet, find_backbone

POOLED = "pooled"  # the name of the vector that the head of a classifier receives
# Largest accepted distance, 1 - cosine, of a vector from that of the reference; bf16 has 8 bits.
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-3}


def vector_graph(model: nn.Module, layer: str = POOLED) -> StaticGraph:
    """Images (N, C, H, W) -> vectors (N, D) of a layer; feature maps are averaged over their positions.

    Args:
        model: in eval mode.
        layer: "pooled", what the head of a classifier receives, or of another model the average of the backbone's last map; or
            the name of any layer, such as "stage3" or "backbone.stage3.block1".

    Raises:
        UserError: there is no such layer.
    """
    static = _vector_module(model, layer).eval()
    return StaticGraph(static, static, lambda vectors: vectors, _agreement, TOLERANCE)


def is_traceable(model: nn.Module, layer: str) -> bool:
    """Whether any backend can compute this layer; if not, only the reference can."""
    return not isinstance(_vector_module(model, layer), _LayerVector)


def _vector_module(model: nn.Module, layer: str) -> nn.Module:
    backbone = find_backbone(model)
    if layer == POOLED:
        return PooledBackbone(model) if isinstance(model, ResNet) else _BackboneVector(backbone)
    names = [name for name, _ in model.named_modules() if name]
    inner = {name for name, _ in backbone.named_modules() if name}
    path = next((each for each in (layer, f"backbone.{layer}") if each in names), None)
    if path is None:
        known = [POOLED, *names]
        levels = ", ".join([POOLED, *backbone._modules])
        raise UserError(f"The model has no layer '{layer}'.{suggestion(layer, known)} Among its layers are: {levels}.")
    name = path.removeprefix("backbone.")
    if name in inner and name in backbone.stages:
        return _BackboneVector(backbone, name)
    return _LayerVector(model, path)


class _BackboneVector(nn.Module):
    """The average over the positions of the last feature map, or of that of a stage as its last block returns it."""

    def __init__(self, backbone: Backbone, stage: str | None = None) -> None:
        super().__init__()
        self.backbone, self.stage = backbone, stage
        names = [*backbone.stages]
        self.until = None if stage is None else dict(zip(names, [*names[1:], "final"], strict=True))[stage]

    def forward(self, x: Tensor) -> Tensor:
        if self.stage is None:
            return self.backbone.forward_features(x).mean((2, 3))
        return self.backbone.features(x, self.until)[self.stage].mean((2, 3))


class _Reached(Exception):  # noqa: N818 - it ends a computation, and is no error
    """The output of the wanted layer is known; what follows it need not be computed."""


class _LayerVector(nn.Module):
    """The first output of a layer, averaged over positions."""

    def __init__(self, model: nn.Module, path: str) -> None:
        super().__init__()
        self.model, self.path = model, path

    def forward(self, x: Tensor) -> Tensor:
        found: list[Any] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            found.append(output)
            raise _Reached

        handle = self.model.get_submodule(self.path).register_forward_hook(keep)
        try:
            self.model(x)
        except _Reached:
            pass
        finally:
            handle.remove()
        output = found[0] if found else None
        if isinstance(output, Tensor) and len(output) == len(x) and output.ndim in (2, 4):
            return output if output.ndim == 2 else output.mean((2, 3))
        shape = f"a tensor of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        returned = shape if found else "nothing"
        raise UserError(
            f"The layer '{self.path}' gives no vector and no feature map for each image; for {len(x)} it returned {returned}."
        )


def _agreement(vectors: Tensor, reference: Tensor) -> Agreement:
    distance = float((1 - torch.cosine_similarity(vectors.double(), reference.double())).max())
    distance = max(distance, 0.0)
    text = f"on {pluralize(len(vectors), 'image')} vectors within a cosine distance of {distance:.2g}"
    return Agreement(len(vectors), distance, text, quantity="a cosine distance")
