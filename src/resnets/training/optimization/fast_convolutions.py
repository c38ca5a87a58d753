"""3x3 convolutions that train faster on a processor with AVX2, in float32 in channels_last (benchmarks/convolutions.py).

Output and gradients of those with many channels are computed by Winograd's algorithm. For the gradient of the kernels of the
others, oneDNN needs two to four times as long in channels_last as from channels-first copies, if the map is large.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.inference import winograd
from resnets.recipes.recipe import Speed

MIN_CELLS = 64 * 64  # of a map, from which on the copies pay off
MIN_CHANNELS = 16  # of the input, for the copies


class FastConv2d(nn.Conv2d):
    """`nn.Conv2d` that computes in training by Winograd's algorithm, or the gradient of the kernels from channels-first copies.

    Without gradients it is `nn.Conv2d`, so that a validation computes what `evaluate` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not input.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        if winograd.suits(self, winograd.MIN_GRADIENT_CHANNELS) and winograd.suits_input(input):
            by_winograd: Tensor = _Winograd.apply(input, self.weight, self.bias, winograd.suits(self))
            return by_winograd
        if self.weight.requires_grad and is_large(input):
            geometry = (self.stride, self.padding, self.dilation, self.groups)
            output: Tensor = _CopiesInBackward.apply(input, self.weight, self.bias, geometry)
            return output
        return super().forward(input)


def applies_to(speed: Speed) -> bool:
    """Whether a training with these settings gains on this processor."""
    plain = speed.device == "cpu" and speed.precision == "fp32" and speed.channels_last
    return plain and not speed.compile and winograd.is_faster_here()  # torch.compile chooses the layouts itself


def replace_convolutions(model: nn.Module) -> None:
    """Replace the 3x3 convolutions in a model by `FastConv2d` with the same parameters."""
    made: dict[nn.Module, FastConv2d] = {}
    for parent in list(model.modules()):
        for name, conv in list(parent.named_children()):
            if type(conv) is nn.Conv2d and _is_kind(conv):
                if conv not in made:
                    made[conv] = _fast(conv)
                setattr(parent, name, made[conv])


def _fast(conv: nn.Conv2d) -> FastConv2d:
    with torch.device("meta"):
        made = FastConv2d(conv.in_channels, conv.out_channels, 3, bias=conv.bias is not None)
    made.stride, made.padding, made.dilation = conv.stride, conv.padding, conv.dilation
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


def is_large(input: Tensor) -> bool:
    """Whether the copies save time for a convolution of this input."""
    return input.shape[-2] * input.shape[-1] >= MIN_CELLS


def _is_kind(conv: nn.Conv2d) -> bool:
    return (
        conv.kernel_size == (3, 3)
        and conv.groups == 1
        and conv.in_channels >= MIN_CHANNELS
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


class _Winograd(torch.autograd.Function):
    """All products by Winograd's algorithm, or only the gradient of the kernels."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, is_all: bool) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.is_all = is_all
        if is_all:
            return winograd.convolve(input, winograd.transform_kernels(weight), bias)
        return F.conv2d(input, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        input, weight = ctx.saved_tensors
        wants_input, wants_weight, wants_bias, _ = ctx.needs_input_grad
        of_input = None
        if wants_input and ctx.is_all:
            of_input = winograd.input_gradient(gradient, weight)
        elif wants_input:
            of_input = _gradients(((1, 1), (1, 1), (1, 1), 1), gradient, input, weight, (True, False, False))[0]
        of_weight = winograd.weight_gradient(input, gradient) if wants_weight else None
        return of_input, of_weight, gradient.sum((0, 2, 3)) if wants_bias else None, None


class _CopiesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.geometry = geometry
        return F.conv2d(input, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        input, weight = ctx.saved_tensors
        wants_input, _, wants_bias, _ = ctx.needs_input_grad
        of_input = _gradients(ctx.geometry, gradient, input, weight, (True, False, False))[0] if wants_input else None
        gradient, input, weight = (each.contiguous() for each in (gradient, input, weight))
        _, of_weight, of_bias = _gradients(ctx.geometry, gradient, input, weight, (False, True, wants_bias))
        return of_input, of_weight, of_bias, None


def _gradients(
    geometry: tuple[Any, ...], gradient: Tensor, input: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    stride, padding, dilation, groups = geometry
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, input, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return found
