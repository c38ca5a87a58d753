"""3x3 convolutions by Winograd's algorithm F(4x4, 3x3), which needs a quarter of the multiplications.

Lavin and Gray, https://arxiv.org/abs/1509.09308. A tile of 4x4 outputs comes from a tile of 6x6 inputs; these overlap by two.
With the matrices B, G and A of one dimension and their Kronecker products for two,

    outputs = (A x A)^T [ (G x G) kernel * (B x B)^T inputs ],

where * is, for each of the 36 elements of a tile, the product of a matrix (tiles, input channels) and one (input channels,
output channels). So all steps are products of matrices. oneDNN has the algorithm for AVX-512 only. Outputs have some five times
the rounding error of a direct convolution, which is about 1e-6 of the largest one in float32.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 4  # outputs of a tile in each dimension
TILES = 256  # computed together, so that the memory for them stays in the processor's cache
MIN_CHANNELS = 128  # of input and output, from which on the saved multiplications outweigh the two transformations
MIN_GRADIENT_CHANNELS = 64  # the same for the gradient of the kernels
MIN_TILES = 32  # of a batch: for fewer, reading the transformed kernels takes longer than a direct convolution

Matrix = Sequence[Sequence[float]]

# The points 0, 1, -1, 2, -2 and infinity.
G: Matrix = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
B_T: Matrix = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
A_T: Matrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _in_two_dimensions(matrix: Matrix) -> Tensor:
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one)


KERNEL, INPUT, OUTPUT = (_in_two_dimensions(each) for each in (G, B_T, A_T))  # (36, 9), (36, 36), (16, 36)


class WinogradConv2d(nn.Conv2d):
    """A convolution for inference, in float32 in channels_last; small batches are computed directly."""

    def __init__(self, conv: nn.Conv2d) -> None:
        with torch.device("meta"):
            super().__init__(conv.in_channels, conv.out_channels, 3, padding=1)
        self.weight, self.bias = conv.weight, conv.bias
        self.kernels = transform_kernels(conv.weight.detach().double()).float().contiguous()

    def forward(self, input: Tensor) -> Tensor:
        return convolve(input, self.kernels, self.bias) if suits_input(input) else super().forward(input)


def is_faster_here() -> bool:
    """Whether this processor gains: those with AVX2 and not AVX-512, which oneDNN has more for, were measured."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def replace_convolutions(module: nn.Module) -> None:
    """Replace the convolutions of a frozen module in place, where that can save time."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if suits(child):
                setattr(parent, name, WinogradConv2d(child))


@torch.inference_mode()
def share(module: nn.Module, images: Tensor) -> float:
    """The share of the multiplications in the convolutions of a network that `WinogradConv2d` saves three quarters of."""
    numbers = {True: 0.0, False: 0.0}

    def count(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        numbers[suits(conv)] += output.numel() * conv.weight[0].numel()  # type: ignore[index]

    handles = [each.register_forward_hook(count) for each in module.modules() if isinstance(each, nn.Conv2d)]
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
    return numbers[True] / max(sum(numbers.values()), 1)


def suits(conv: nn.Module, min_channels: int = MIN_CHANNELS) -> TypeGuard[nn.Conv2d]:
    """Whether this is a convolution that `convolve` can compute, with enough channels for it to be faster."""
    return (
        isinstance(conv, nn.Conv2d)
        and (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and conv.padding == (1, 1)
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= min_channels
    )


def suits_input(input: Tensor) -> bool:
    """Whether `convolve` is faster for an input of this size and layout."""
    return _grid(input).number >= MIN_TILES and input.is_contiguous(memory_format=torch.channels_last)


def transform_kernels(weight: Tensor, *, turned: bool = False) -> Tensor:
    """Kernels (outputs, inputs, 3, 3), or those turned by 180 degrees -> (36, inputs, outputs)."""
    rows = weight.permute(2, 3, 0, 1).reshape(9, -1)  # in channels_last the runs of inputs are copied as they are
    matrix = KERNEL.flip(1) if turned else KERNEL
    return (matrix.to(weight.dtype) @ rows).view(36, *weight.shape[:2]).transpose(1, 2)


def convolve(input: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with padding 1 of a map in channels_last.

    Args:
        input: (n, inputs, height, width).
        kernels: (36, inputs, outputs), from `transform_kernels`.
        bias: (outputs,).

    Returns:
        (n, outputs, height, width) in channels_last.
    """
    count, inputs, height, width = input.shape
    outputs = kernels.shape[-1]
    grid = _grid(input)
    padded = _pad(input, 1, grid)
    shape = (count, outputs, TILE * grid.rows, TILE * grid.columns)
    result = torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=torch.channels_last)
    to_tiles, from_tiles = INPUT.to(input.dtype), OUTPUT.to(input.dtype)
    size = grid.chunk_size
    tiles, transformed = input.new_empty(2, 36 * size * inputs)
    products, sums = input.new_empty(36 * size * outputs), input.new_empty(16 * size * outputs)
    for chunk in grid.chunks():
        number = chunk.number
        values = _transform_inputs(padded, chunk, to_tiles, tiles, transformed)
        product = products[: 36 * number * outputs].view(36, number, outputs)
        torch.bmm(values, kernels, out=product)
        summed = torch.mm(from_tiles, product.view(36, -1), out=sums[: 16 * number * outputs].view(16, -1))
        summed = summed.view(4, 4, *chunk.shape, outputs)
        target = _view_tiles(result.permute(0, 2, 3, 1), chunk, 4)
        target.copy_(summed) if bias is None else torch.add(summed, bias, out=target)
    if result.shape[-2:] == input.shape[-2:]:
        return result
    # A copy, since autograd would refuse a view.
    return result[:, :, :height, :width].clone(memory_format=torch.channels_last)


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the input of `convolve` from that of its output and the kernels (outputs, inputs, 3, 3)."""
    return convolve(gradient, transform_kernels(weight, turned=True).transpose(1, 2), None)


def weight_gradient(input: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the kernels (outputs, inputs, 3, 3) from the input of `convolve` and the gradient of its output."""
    inputs, outputs = input.shape[1], gradient.shape[1]
    grid = _grid(input)
    padded, padded_gradient = _pad(input, 1, grid), _pad(gradient, 0, grid)
    to_tiles, from_gradient = INPUT.to(input.dtype), OUTPUT.T.to(input.dtype).contiguous()
    size = grid.chunk_size
    tiles, transformed = input.new_empty(2, 36 * size * inputs)
    of_outputs, of_products = input.new_empty(16 * size * outputs), input.new_empty(36 * size * outputs)
    total = input.new_zeros(36, outputs, inputs)
    for chunk in grid.chunks():
        number = chunk.number
        values = _transform_inputs(padded, chunk, to_tiles, tiles, transformed)
        given = of_outputs[: 16 * number * outputs].view(16, -1)
        given.view(4, 4, *chunk.shape, outputs).copy_(_view_tiles(padded_gradient, chunk, 4))
        product = torch.mm(from_gradient, given, out=of_products[: 36 * number * outputs].view(36, -1))
        total.baddbmm_(product.view(36, number, outputs).transpose(1, 2), values)
    kernels = KERNEL.T.to(input.dtype) @ total.view(36, -1)
    return kernels.view(3, 3, outputs, inputs).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def _transform_inputs(maps: Tensor, chunk: "_Chunk", matrix: Tensor, tiles: Tensor, out: Tensor) -> Tensor:
    """The transformed inputs (36, tiles, C) of a chunk of padded maps (n, height, width, C), in the memory of `out`."""
    channels = maps.shape[-1]
    size = 36 * chunk.number * channels
    source = tiles[:size].view(36, -1)
    source.view(6, 6, *chunk.shape, channels).copy_(_view_tiles(maps, chunk, 6))
    return torch.mm(matrix, source, out=out[:size].view(36, -1)).view(36, chunk.number, channels)


class _Chunk(NamedTuple):
    """Some tiles: whole images, or rows of tiles of one image."""

    image: int
    row: int
    shape: tuple[int, int, int]  # numbers of images, rows of tiles, and columns of tiles

    @property
    def number(self) -> int:
        images, rows, columns = self.shape
        return images * rows * columns


class _Grid(NamedTuple):
    """The tiles of a batch: numbers of images, and of rows and columns of tiles in each."""

    images: int
    rows: int
    columns: int

    @property
    def number(self) -> int:
        return self.images * self.rows * self.columns

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """The largest numbers of images and of rows in a chunk."""
        per_image = self.rows * self.columns
        if per_image <= TILES:
            return min(TILES // per_image, self.images), self.rows
        return 1, max(TILES // self.columns, 1)

    @property
    def chunk_size(self) -> int:
        images, rows = self.chunk_shape
        return images * rows * self.columns

    def chunks(self) -> Iterator[_Chunk]:
        images, rows = self.chunk_shape
        for image in range(0, self.images, images):
            for row in range(0, self.rows, rows):
                shape = (min(images, self.images - image), min(rows, self.rows - row), self.columns)
                yield _Chunk(image, row, shape)


def _grid(input: Tensor) -> _Grid:
    count, _, height, width = input.shape
    return _Grid(count, -(-height // TILE), -(-width // TILE))


def _pad(input: Tensor, border: int, grid: _Grid) -> Tensor:
    """(n, C, h, w) -> (n, height, width, C) for whole tiles, with a border of zeros around all of them."""
    height, width = input.shape[-2:]
    bottom, right = (TILE * number - side + border for number, side in ((grid.rows, height), (grid.columns, width)))
    return F.pad(input.permute(0, 2, 3, 1), (0, 0, border, right, border, bottom)).contiguous()


def _view_tiles(maps: Tensor, chunk: _Chunk, side: int) -> Tensor:
    """(n, height, width, C) -> the elements of tiles of `side`, (side, side, images, rows, columns, C)."""
    image, row, column, channel = maps.stride()
    strides = (row, column, image, TILE * row, TILE * column, channel)
    offset = maps.storage_offset() + chunk.image * image + TILE * chunk.row * row
    return maps.as_strided((side, side, *chunk.shape, maps.shape[-1]), strides, offset)
