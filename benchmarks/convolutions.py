"""The processor time of a 3x3 convolution and of its gradients: torch's in channels_last, and what replaces them on AVX2.

    python benchmarks/convolutions.py [--threads 1 2] [--maps 256x100x136 64x200x272] [--images 2]
    python benchmarks/convolutions.py --bf16 --threads 1 --images 500 --maps 64x15x15 192x7x7 256x3x3

With `--bf16` it is the gradient of the kernels alone, torch's and that of training/optimization/small_map_convolutions.py.
The limits in inference/winograd.py and training/optimization/fast_convolutions.py come from it. "copies" is the gradient of the
kernels from channels-first copies, which are included. The `resnets` command keeps its memory; for its times set
MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ as in docs/speed.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from resnets.inference import winograd
from resnets.training.optimization import small_map_convolutions

ROUNDS = 3
MAPS = ["256x200x272", "256x100x136", "64x200x272", "128x100x136", "256x50x68", "512x25x34"]


def milliseconds(step: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        step()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[1:])


def gradient_of(wanted: tuple[bool, bool], gradient: Tensor, x: Tensor, weight: Tensor) -> Callable[[], object]:
    """A function that computes the gradient of the input, of the kernels, or of both."""
    return lambda: torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, (*wanted, False)
    )


def row(name: str, direct: float, replaced: float, copies: float | None = None) -> str:
    also = "" if copies is None else f", copies {copies:.0f} ms"
    return f"{name} {direct:.0f} ms{also} -> {replaced:.0f} ms ({min(direct, copies or direct) / replaced:.2f}x)"


def measure(images: int, channels: int, height: int, width: int) -> list[str]:
    def channels_last(*shape: int) -> Tensor:
        return torch.randn(shape).contiguous(memory_format=torch.channels_last)

    x, gradient = (channels_last(images, channels, height, width) for _ in range(2))
    weight = channels_last(channels, channels, 3, 3) / (3 * channels**0.5)
    kernels = winograd.transform_kernels(weight).contiguous()
    first = [each.contiguous() for each in (gradient, x, weight)]
    copied = milliseconds(lambda: gradient_of((False, True), *(each.clone() for each in first))())
    return [
        row(
            "output",
            milliseconds(lambda: torch.conv2d(x, weight, padding=1)),
            milliseconds(lambda: winograd.convolve(x, kernels, None)),
        ),
        row(
            "gradient of the input",
            milliseconds(gradient_of((True, False), gradient, x, weight)),
            milliseconds(lambda: winograd.input_gradient(gradient, weight)),
        ),
        row(
            "of the kernels",
            milliseconds(gradient_of((False, True), gradient, x, weight)),
            milliseconds(lambda: winograd.weight_gradient(x, gradient)),
            copied,
        ),
    ]


def measure_bf16(images: int, channels: int, height: int, width: int) -> list[str]:
    shapes = ((images, channels, height, width),) * 2 + ((channels, channels, 3, 3),)
    x, gradient, weight = (
        torch.randn(each).bfloat16().contiguous(memory_format=torch.channels_last) for each in shapes
    )
    return [
        row(
            "gradient of the kernels in bf16",
            milliseconds(gradient_of((False, True), gradient, x, weight)),
            milliseconds(lambda: small_map_convolutions.kernel_gradient(x, gradient)),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--maps", nargs="+", metavar="CHANNELSxHEIGHTxWIDTH", default=MAPS)
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.maps:
            rows = (measure_bf16 if options.bf16 else measure)(options.images, *map(int, name.split("x")))
            print(f"{threads} threads, {options.images}x{name:12} " + "; ".join(rows), flush=True)


if __name__ == "__main__":
    main()
