"""3x3 convolutions that train faster in bf16 on a CPU with AMX where their maps are small (`benchmarks/convolutions.py --bf16`).

For the gradient of the kernels of maps of 7x7 and 3x3, oneDNN needs two to four times as long there as the same sum of products
written as a product of matrices. Without AMX the products take longer on most maps.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.inference import hardware
from resnets.recipes.recipe import Speed

MAX_CELLS = 64  # of a map, up to which the product of matrices is faster
ROWS = 2500  # of a product, so that its matrices stay in the cache


class SmallMapConv2d(nn.Conv2d):
    """A 3x3 `nn.Conv2d` at stride 1, padded by 1, whose kernels have their gradient from products of matrices on small maps."""

    def forward(self, input: Tensor) -> Tensor:
        is_small = input.shape[-2] * input.shape[-1] <= MAX_CELLS
        if not (
            is_small and torch.is_grad_enabled() and self.weight.requires_grad and torch.is_autocast_enabled("cpu")
        ):
            return super().forward(input)
        output: Tensor = _Products.apply(input.bfloat16(), self.weight.bfloat16())
        return output


def applies_to(speed: Speed) -> bool:
    """Whether a training with these settings gains on this processor."""
    on_cpu = speed.device == "cpu" and speed.precision == "bf16" and speed.channels_last and not speed.compile
    return on_cpu and "amx_bf16" in hardware.cpu_flags()


def replace_convolutions(model: nn.Module) -> None:
    """Replace the convolutions in a model that can gain by `SmallMapConv2d` with the same parameters."""
    for parent in list(model.modules()):
        for name, conv in list(parent.named_children()):
            if type(conv) is nn.Conv2d and _can_gain(conv):
                with torch.device("meta"):
                    made = SmallMapConv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=False)
                made.weight = conv.weight
                setattr(parent, name, made.train(conv.training))


def _can_gain(conv: nn.Conv2d) -> bool:
    plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    return plain and conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.bias is None


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        input, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            geometry = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)  # stride, padding, dilation
            of_input = torch.ops.aten.convolution_backward(
                gradient, input, weight, None, *geometry, [True, False, False]
            )[0]
        return of_input, kernel_gradient(input, gradient).to(weight.dtype)


def kernel_gradient(input: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the kernels of a 3x3 convolution at stride 1, padded by 1, summed in float32.

    Args:
        input: (N, in, H, W).
        gradient: of the output, (N, out, H, W).

    Returns:
        (out, in, 3, 3), float32.
    """
    height, width = input.shape[-2:]
    in_channels, out_channels = input.shape[1], gradient.shape[1]
    images = max(1, ROWS // (height * width))
    total = torch.zeros(out_channels, 9 * in_channels)
    for inputs, gradients in zip(input.split(images), gradient.split(images), strict=True):
        padded = F.pad(inputs.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        patches = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        columns = torch.cat(patches, -1).view(-1, 9 * in_channels)  # (n * H * W, 9 * in)
        rows = gradients.permute(0, 2, 3, 1).reshape(-1, out_channels).T.contiguous()
        total += rows @ columns
    return total.view(out_channels, 3, 3, in_channels).permute(0, 3, 1, 2)
