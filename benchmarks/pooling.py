"""The time of RoIAlign with its gradient: torchvision's, and as matrix products, for maps of several sizes.

    python benchmarks/pooling.py [--regions 128] [--channels 96]

It is where MAX_CELLS in models/detection/rcnn/region_pooling.py comes from.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import roi_align

from resnets.models.detection.rcnn.region_pooling import pool_by_products

IMAGES, SIZE, ROUNDS = 4, 7, 5


def milliseconds(pool: Callable[[Tensor, Tensor], Tensor], level_map: Tensor, regions: Tensor) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        pool(level_map, regions).sum().backward()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--regions", type=int, default=128, help="for each image")
    parser.add_argument("--channels", type=int, default=96)
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[8, 16, 32, 48, 64, 80, 112], help="of the maps, in cells"
    )
    options = parser.parse_args()
    for side in options.sides:
        level_map = torch.randn(IMAGES, options.channels, side, side).contiguous(memory_format=torch.channels_last)
        level_map.requires_grad_()
        corners = torch.rand(IMAGES * options.regions, 2) * side * 2
        boxes = torch.cat([corners, corners + torch.rand_like(corners) * side * 2], 1)
        regions = torch.cat([torch.arange(IMAGES).repeat_interleave(options.regions)[:, None], boxes], 1)
        theirs = milliseconds(lambda m, r: roi_align(m, r, SIZE, 0.25, sampling_ratio=2), level_map, regions)
        ours = milliseconds(lambda m, r: pool_by_products(m, r, SIZE, 0.25), level_map, regions)
        print(f"map {side:3}x{side:<3}  roi_align {theirs:8.1f} ms  products {ours:8.1f} ms  {theirs / ours:5.1f}x")


if __name__ == "__main__":
    main()
