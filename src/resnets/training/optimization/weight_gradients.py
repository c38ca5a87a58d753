"""The gradient of 3x3 kernels on large maps, which in channels_last takes oneDNN about two to four times as long on AVX2.

Forward and the gradient of the input are as fast in channels_last or faster, so only this one is computed from copies
(benchmarks/weight_gradients.py).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.inference import hardware
from resnets.recipes.recipe import Speed

MIN_CELLS = 64 * 64  # of a map, from which on the copies pay off
MIN_CHANNELS = 16  # of the input


class ConvWithCopies(nn.Conv2d):
    """`nn.Conv2d` whose gradient of the weight is computed from channels-first copies, for large maps in channels_last."""

    def forward(self, input: Tensor) -> Tensor:
        if not (self.weight.requires_grad and torch.is_grad_enabled() and is_large(input)):
            return super().forward(input)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        output: Tensor = _CopiesInBackward.apply(input, self.weight, self.bias, geometry)
        return output


def applies_to(speed: Speed) -> bool:
    """Whether copies can save time in a training with these settings, on a processor without bf16 (and AVX-512)."""
    if speed.device != "cpu" or hardware.native_bf16_reason(torch.device("cpu")):
        return False
    return speed.precision == "fp32" and speed.channels_last and not speed.compile  # which chooses the layouts itself


def use_copies(model: nn.Module) -> None:
    """Replace the 3x3 convolutions in a model by `ConvWithCopies` with the same parameters and outputs."""
    made: dict[nn.Module, ConvWithCopies] = {}
    for parent in list(model.modules()):
        for name, conv in list(parent.named_children()):
            if type(conv) is nn.Conv2d and _is_kind(conv):
                if conv not in made:
                    made[conv] = _with_copies(conv)
                setattr(parent, name, made[conv])


def _with_copies(conv: nn.Conv2d) -> ConvWithCopies:
    with torch.device("meta"):
        made = ConvWithCopies(conv.in_channels, conv.out_channels, 3, bias=conv.bias is not None)
    made.stride, made.padding, made.dilation = conv.stride, conv.padding, conv.dilation
    made.weight, made.bias = conv.weight, conv.bias
    return made.train(conv.training)


def is_large(input: Tensor) -> bool:
    """Whether the copies save time for a convolution of this input."""
    return input.shape[-2] * input.shape[-1] >= MIN_CELLS and input.is_contiguous(memory_format=torch.channels_last)


def _is_kind(conv: nn.Conv2d) -> bool:
    return (
        conv.kernel_size == (3, 3)
        and conv.groups == 1
        and conv.in_channels >= MIN_CHANNELS
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


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
