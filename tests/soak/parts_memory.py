"""Measure the memory of `predict --parquet`: with 10,000 and 1,000,000 images, and for each part.

    python tests/soak/parts_memory.py

Each process lists all images and computes the first of all parts, then it is killed. Parts have 1,000 images of 32x32 pixels; the
largest memory (VmHWM) with a million images, in one folder or in a list on stdin, may be 50 MB above that with ten thousand. With
parts of one image, a million of them and ten thousand, it gives the bytes that each part takes, and with a million empty files of
such names those of each part that is there: at most 60 and 350. The exit code is 1 if it is more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

FEW, MANY = 10_000, 1_000_000
LIMIT_MB, PART_BYTES, NAME_BYTES = 50, 60, 350
LINKS = 30_000  # of one file; ext4 allows 65,000
MODEL = "cifar_resnet20.cifar10"


def make_images(folder: Path, count: int) -> None:
    """As many names of a few files, which are images of 32x32 pixels."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:09d}.png"
        if number % LINKS == 0:
            original = path
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
        else:
            os.link(original, path)


def predict(images: str, out: str, images_per_part: int) -> None:
    """In a process of its own, which does not come to its end."""
    import resnets

    resnets.predict_to_parquet(
        MODEL, images, out, images_per_part=images_per_part, resume=True, device="cpu", workers=1
    )


def peak_bytes(images: Path, out: Path, images_per_part: int = 1000, source: str = "a folder", names: int = 0) -> int:
    """The largest memory of a process until its first part is there, with so many names of other parts in the folder."""
    out.mkdir()
    if names:  # those of a job whose settings are there
        peak_bytes(images, out / "begun", images_per_part)
        (out / "begun" / "_settings.json").rename(out / "_settings.json")
    for number in range(names):
        (out / f"part-{number:07d}-{number:016x}.parquet").touch()
    words = [sys.executable, __file__, "--predict", "-" if source == "a list" else str(images), str(out)]
    found = subprocess.Popen(["find", str(images), "-name", "*.png"], stdout=subprocess.PIPE)
    with subprocess.Popen([*words, str(images_per_part)], stdin=found.stdout, stderr=subprocess.DEVNULL) as process:
        pattern = re.compile(r"part-0000000-(?!0{16})")
        while not any(pattern.match(entry.name) for entry in os.scandir(out)):
            if process.poll() is not None:
                raise SystemExit(f"{words} ended with {process.returncode}")
            time.sleep(5 if names else 0.2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.kill()
    found.kill()
    found.wait()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


def bytes_for_ray(count: int = 10_000) -> float:
    """What this process keeps of each part that it gives to Ray."""
    from resnets.tasks.predict_parts.part import Part

    tracemalloc.start()
    parts = [Part(number, 10**6 + number, 10**6 + number + 1, f"{number:064x}") for number in range(count)]
    rows = [part._asdict() for part in parts]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(rows)


def soak(few: int, many: int) -> int:
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        stack.callback(print, flush=True)
        root, wrong = Path(temporary), 0
        for count in (few, many):
            make_images(root / str(count), count)
        for source in ("a folder", "a list"):
            begin = time.monotonic()
            peaks = [
                peak_bytes(root / str(count), root / f"{source} {count}", source=source) / 1e6 for count in (few, many)
            ]
            wrong += peaks[1] > peaks[0] + LIMIT_MB
            text = f"{source}: {peaks[0]:.0f} MB with {few:,} images, {peaks[1]:.0f} MB with {many:,}"
            print(f"{text}; {time.monotonic() - begin:.0f} s", flush=True)
        single = [peak_bytes(root / str(count), root / f"single {count}", images_per_part=1) for count in (few, many)]
        of_part = (single[1] - single[0]) / (many - few)
        there = peak_bytes(root / str(few), root / "there", images_per_part=1, names=many)
        of_name = (there - single[0]) / many
        print(
            f"{of_part:.0f} bytes for each part, {of_name:.0f} more for one that is there, {bytes_for_ray():.0f} with Ray"
        )
        return wrong + (of_part > PART_BYTES) + (of_name > NAME_BYTES)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--predict"]:
        predict(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
        parser.add_argument("--few", type=int, default=FEW)
        parser.add_argument("--many", type=int, default=MANY)
        arguments = parser.parse_args()
        sys.exit(min(soak(arguments.few, arguments.many), 1))
