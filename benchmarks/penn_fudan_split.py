"""Split Penn-Fudan, 170 photographs of pedestrians with masks, as docs/detection.md measures on it.

    python benchmarks/penn_fudan_split.py PennFudanPed split.csv

The val split are the 50 images with the smallest SHA-256, so that anyone makes the same split; 120 are for training.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from resnets.data.loading.hash_files import hash_samples
from resnets.data.object_datasets import open_object_dataset
from resnets.data.split.split_file import write_split

NUM_VAL = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", help="with PNGImages and PedMasks")
    parser.add_argument("out", help="the split file to write")
    options = parser.parse_args()
    dataset = open_object_dataset.read(options.folder)
    hashed = hash_samples(dataset.samples)
    val = set(sorted(str(sample.sha256) for sample in hashed)[:NUM_VAL])
    samples = [replace(sample, split="val" if sample.sha256 in val else "train") for sample in hashed]
    write_split(options.out, replace(dataset, samples=samples))


if __name__ == "__main__":
    main()
