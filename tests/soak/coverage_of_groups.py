"""Measure how often the 95 % interval of an mIoU holds the true one, where images of a group are alike.

    python tests/soak/coverage_of_groups.py --trials 1000 --groups 80

A trial is an evaluation of images of several groups, such as the frames of videos. How well each class is found is drawn for
each group, and varies little between its images, so that images of one group say nearly the same. Only the counts of pixels
are invented; the metric and the bootstrap are the program's own. The true mIoU is that of all groups of this world.

Printed: the coverage with the groups as units, and with each image as a unit of its own, which is too low. The exit code
is 1 when the former is not between 93 and 97 %.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from resnets.tasks.segmentation.metrics.records import Records
from resnets.tasks.segmentation.metrics.summarize import summarize

CLASSES, PIXELS, IMAGES = 3, 10_000, 6  # images of a group
LEAST, MOST = 0.93, 0.97


def draw(random: np.random.Generator, groups: int) -> np.ndarray:
    """int64 (groups * IMAGES, CLASSES, CLASSES): confusion matrices of images, those of a group one after the other."""
    shares = np.repeat(random.dirichlet(np.array([6.0, 3.0, 2.0]), groups), IMAGES, axis=0)
    right = np.repeat(random.beta(6, 2, (groups, CLASSES)), IMAGES, axis=0)
    right = np.clip(right + random.normal(0, 0.01, right.shape), 0, 1)
    matrices = np.repeat((1 - right)[:, :, None] / (CLASSES - 1), CLASSES, axis=2)
    diagonal = np.arange(CLASSES)
    matrices[:, diagonal, diagonal] = right
    return (PIXELS * shares[:, :, None] * matrices).astype(np.int64)


def records_of(matrices: np.ndarray, unit: np.ndarray) -> Records:
    """The records of images with these confusion matrices; nothing is known of boundaries."""
    cells = []
    for matrix in matrices:
        numbers = np.flatnonzero(matrix)
        cells.append(torch.from_numpy(np.stack([numbers, matrix.ravel()[numbers]], 1)))
    return Records(cells, np.zeros((len(matrices), 3, CLASSES), np.int64), unit)


def iou_of(matrix: np.ndarray) -> float:
    """The mean over the classes."""
    shared = matrix.diagonal()
    return float((shared / (matrix.sum(0) + matrix.sum(1) - shared)).mean())


def coverage(trials: int, groups: int, seed: int = 0) -> tuple[float, float]:
    """The shares of the intervals that hold the true mIoU: with groups as units, and with images as units."""
    random = np.random.default_rng([seed, groups])
    true = iou_of(draw(random, 30_000).sum(axis=0))
    numbers = np.arange(groups * IMAGES)
    covered = np.zeros(2)
    for _ in range(trials):
        matrices = draw(random, groups)
        for position, unit in enumerate((numbers // IMAGES, numbers)):
            low, high = summarize(records_of(matrices, unit))["miou_interval"]
            covered[position] += low <= true <= high
    by_group, by_image = (covered / trials).tolist()
    return by_group, by_image


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    by_group, by_image = coverage(asked.trials, asked.groups, asked.seed)
    print(f"{asked.groups} groups of {IMAGES} images: {by_group:.1%} covered; with images as units {by_image:.1%}")
    return 0 if LEAST <= by_group <= MOST else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
