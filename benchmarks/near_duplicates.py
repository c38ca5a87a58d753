"""How many of the near duplicates of CIFAR-10 that people found does the data check find?

    python benchmarks/near_duplicates.py CIFAR PAIRS

CIFAR has `train/CLASS/NNNNN.webp` and `test/CLASS/NNNNN.webp`, the images in lossless form with their original numbers. PAIRS is
`duplicates_cifar10.csv` of ciFAIR (Barz and Denzler 2020, "Do we train on test data?", https://cvjena.github.io/cifair/).
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from resnets.data.check.near_duplicates import find_near_duplicates, make_thumbnail
from resnets.data.image.decode import decode
from resnets.data.loading.thread_pool import ordered_map

JUDGMENT = "1"  # of the list: the same photograph, processed in another way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar", type=Path)
    parser.add_argument("pairs", type=Path)
    arguments = parser.parse_args()
    files = {
        split: sorted((arguments.cifar / split).glob("*/*.webp"), key=lambda file: int(file.stem))
        for split in ("train", "test")
    }
    every = [*files["train"], *files["test"]]
    thumbnails = np.stack([*ordered_map(lambda file: make_thumbnail(decode(file)), every, workers=None, ahead=256)])
    start = time.process_time()
    groups = find_near_duplicates(thumbnails)
    seconds = time.process_time() - start
    group_of = {number: index for index, group in enumerate(groups) for number in group}
    with open(arguments.pairs, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Judgment"] == JUDGMENT]
    numbers = [(len(files["train"]) + int(row["TestID"]), int(row["TrainID"])) for row in rows]
    found = sum(group_of.get(test, -1) == group_of.get(train, -2) for test, train in numbers)
    print(f"{found} of {len(rows)} pairs found, {found / len(rows):.1%}")
    print(f"{len(groups)} groups with {len(group_of)} of {len(every)} images, {seconds:.1f} s of one processor")


if __name__ == "__main__":
    main()
