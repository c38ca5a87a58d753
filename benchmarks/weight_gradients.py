"""The processor time of the gradient of a 3x3 kernel: in channels_last, and from channels-first copies, which are included.

    python benchmarks/weight_gradients.py [--threads 1 2] [--maps 256x100x136 64x200x272]

It is where MIN_CELLS in training/optimization/weight_gradients.py comes from.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from resnets.training.optimization import weight_gradients

IMAGES, ROUNDS = 2, 3


def seconds(step: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


def step(conv: nn.Sequential, x: Tensor, gradient: Tensor) -> Callable[[], None]:
    """A function that computes the output and the gradient of the weight."""

    def run() -> None:
        conv.zero_grad()
        conv(x).backward(gradient)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--maps", nargs="+", metavar="CHANNELSxHEIGHTxWIDTH",
        default=["256x100x136", "64x200x272", "128x100x136", "64x80x80", "256x50x68", "512x14x14"],
    )  # fmt: skip
    options = parser.parse_args()
    weight_gradients.MIN_CELLS = 0  # the copies are measured on small maps, too
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.maps:
            channels, height, width = map(int, name.split("x"))
            conv = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            x = torch.randn(IMAGES, channels, height, width).contiguous(memory_format=torch.channels_last)
            gradient = torch.randn_like(x)
            with torch.no_grad():
                forward = seconds(lambda conv=conv, x=x: conv(x))  # type: ignore[misc]
            before = seconds(step(conv, x, gradient)) - forward
            weight_gradients.use_copies(conv)
            after = seconds(step(conv, x, gradient)) - forward
            print(
                f"{threads} threads, {IMAGES}x{name:12} channels_last {before:6.3f} s  copies {after:6.3f} s  "
                f"{before / after:5.1f}x  (forward {forward:.3f} s)"
            )


if __name__ == "__main__":
    main()
