"""Measure the memory of `predict --parquet` with 10,000 and with 1,000,000 images in one folder, and in a list on stdin.

    python tests/soak/parts_memory.py

Each process lists all images and computes the first part, 1,000 images of 32x32 pixels. The largest memory (VmHWM) with a million
may be 50 MB above that with ten thousand. The exit code is 1 if it is more.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEW, MANY = 10_000, 1_000_000
LIMIT_MB = 50
LINKS = 30_000  # of one file; ext4 allows 65,000
PART = 1000
MODEL = "cifar_resnet20.cifar10"


def make_images(folder: Path, count: int) -> None:
    """As many names of a few files, which are images of 32x32 pixels."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:09d}.png"
        if number % LINKS == 0:
            original = path
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
        else:
            os.link(original, path)


def measure(images: str, out: str, count: int) -> None:
    """In a process of its own: list all, compute the first part, and print the largest memory in MB."""
    import resnets

    found = resnets.predict_to_parquet(MODEL, images, out, shard=f"1/{count // PART}", device="cpu", workers=1)
    assert (found.images, found.parts, found.computed, found.unreadable) == (count, count // PART, 1, 0), found
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def peak_mb(images: Path, out: Path, count: int, source: str) -> float:
    words = [sys.executable, __file__, "--measure", "-" if source == "a list" else str(images), str(out), str(count)]
    names = subprocess.Popen(["find", str(images), "-name", "*.png"], stdout=subprocess.PIPE)
    done = subprocess.run(words, stdin=names.stdout, stdout=subprocess.PIPE, text=True, check=True)
    names.kill()
    names.wait()
    return float(done.stdout)


def soak(few: int, many: int) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folders = {count: Path(temporary) / str(count) for count in (few, many)}
        for count, folder in folders.items():
            folder.mkdir()
            make_images(folder, count)
        wrong = 0
        for source in ("a folder", "a list"):
            begin = time.monotonic()
            peaks = [
                peak_mb(folders[count], Path(temporary) / f"{source} {count}", count, source) for count in (few, many)
            ]
            wrong += peaks[1] > peaks[0] + LIMIT_MB
            few_mb, many_mb = peaks
            seconds = time.monotonic() - begin
            print(
                f"{source}: {few_mb:.0f} MB with {few:,} images, {many_mb:.0f} MB with {many:,}; {seconds:.0f} s",
                flush=True,
            )
    return wrong


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
        parser.add_argument("--few", type=int, default=FEW)
        parser.add_argument("--many", type=int, default=MANY)
        arguments = parser.parse_args()
        sys.exit(min(soak(arguments.few, arguments.many), 1))
