"""Run short trainings from another commit and from the working tree, and compare every tensor that they end with.

    python tests/soak/same_run.py COMMIT [--only scratch,ranks]

COMMIT is checked out into a git worktree in a temporary folder; both sides run in processes of their own, on the same
images, on this machine, with this Python and its packages. `best` and `last` of each pair of runs must hold the same
tensors, bit for bit, after the keys of COMMIT were renamed by `RENAMED_KEYS`. So a change that only renames, moves or
rewrites code shows that it changes no result. The exit code is 1 when anything differs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 600  # of one training, which needs about ten

# Keys of tensors in COMMIT's checkpoints -> here; applied in order, each to the whole key.
RENAMED_KEYS: tuple[tuple[str, str], ...] = ()

# Words of the command line here -> in COMMIT, for flags and values that were renamed in between.
OLDER_WORDS: dict[str, str] = {}

COMMON = "--model tiny --imgsz 32 --batch 16 --epochs 3 --precision fp32 --device cpu --workers 0 --seed 3"
JOBS = {
    "scratch": "--weights none --set augment.crop=random_resized",
    "finetune": "--weights {first} --lr 0.01",
    "frozen": "--weights {first} --freeze backbone",
    "mixup_ema": "--weights none --set augment.mixup_alpha=0.2 --set ema.decay=0.9 --set model.drop_path_rate=0.2",
    "ranks": "--weights none --sync-bn",
    "killed": "--weights none --save-every 1 --set augment.crop=pad",
    "yolov3": "--task detection --model yolov3_tiny --imgsz 64 --weights none",
    "fasterrcnn": "--task detection --model fasterrcnn_light_tiny --imgsz 64 --weights none",
}
DETECTION = ("yolov3", "fasterrcnn")  # jobs on generated shapes with boxes


def write_images(folder: Path, *, classes: int = 3, count: int = 24, side: int = 40, seed: int = 5) -> Path:
    """Folders of class folders with PNG files of `side` x `side` pixels: noise around one color for each class."""
    random = np.random.default_rng(seed)
    for split, num_images in (("train", count), ("val", count // 3)):
        for label in range(classes):
            path = folder / split / f"class{label}"
            path.mkdir(parents=True)
            color = random.uniform(60, 200, 3)
            for number in range(num_images):
                pixels = np.clip(random.normal(color, 50, (side, side, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(path / f"{number:03}.png")
    return folder


class Side:
    """The package in one source tree, run in processes of its own."""

    def __init__(self, tree: Path, out: Path, *, older: bool) -> None:
        self.out, self.older = out, older
        home = {"RESNETS_HOME": str(out / "home"), "RESNETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.environment = {**os.environ, "PYTHONPATH": str(tree / "src"), **home}

    def start(self, words: list[str], *, ranks: int = 1) -> subprocess.Popen[str]:
        words = [OLDER_WORDS.get(word, word) for word in words] if self.older else words
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
        log = (self.out / "log.txt").open("a", encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "resnets", *words],
            env=self.environment, cwd=self.out, stdout=log, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def finish(self, words: list[str], *, ranks: int = 1) -> None:
        if self.start(words, ranks=ranks).wait(TIMEOUT_SECONDS):
            raise SystemExit(f"{' '.join(words)}\nfailed; the end of its output:\n{self.tail()}")

    def tail(self) -> str:
        return (self.out / "log.txt").read_text("utf-8")[-2000:]

    def killed_and_resumed(self, words: list[str], run: Path) -> None:
        """SIGKILL after the first epoch has been written down, then resume until the end."""
        process = self.start(words)
        metrics = run / "metrics.jsonl"
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while process.poll() is None and not (metrics.exists() and "\n" in metrics.read_text("utf-8")):
            if time.monotonic() > deadline:
                process.kill()
                raise SystemExit(f"no epoch within {TIMEOUT_SECONDS} s; the end of its output:\n{self.tail()}")
            time.sleep(0.01)
        if process.poll() is not None:
            raise SystemExit(f"the run that should be killed ended by itself; the end of its output:\n{self.tail()}")
        process.kill()
        process.wait()
        self.finish(["train", "--resume", str(run)])

    def run(self, name: str, data: Path) -> Path:
        """The run directory of this job."""
        first = self.out / "scratch" / "weights" / "best.safetensors"
        if name in DETECTION:
            data = self.out / "shapes"
            if not data.exists():
                self.finish(["data", "get", "shapes", str(data), "--count", "60", "--size", "64"])
        words = ["train", str(data), *COMMON.split(), *JOBS[name].format(first=first).split()]
        words += ["--out", str(self.out), "--name", name]
        if name == "killed":
            self.killed_and_resumed(words, self.out / name)
        else:
            self.finish(words, ranks=2 if name == "ranks" else 1)
        return self.out / name


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def rename(key: str) -> str:
        for pattern, replacement in RENAMED_KEYS:
            key = re.sub(pattern, replacement, key)
        return key

    return {rename(key): value for key, value in tensors.items()}


def differences(older: Path, newer: Path) -> Iterator[str]:
    """What differs between the weights of two runs, a line for each file or tensor."""
    for file in ("best", "last"):
        one = renamed(load_file(older / "weights" / f"{file}.safetensors"))
        other = load_file(newer / "weights" / f"{file}.safetensors")
        for key in sorted(one.keys() ^ other.keys()):
            yield f"{file}: {key} is only in {'the older' if key in one else 'the newer'} run"
        for key in sorted(one.keys() & other.keys()):
            if one[key].dtype != other[key].dtype or not torch.equal(one[key], other[key]):
                yield f"{file}: {key} differs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commit", metavar="COMMIT", help="what the working tree is compared with")
    parser.add_argument("--only", default=",".join(JOBS), metavar="NAMES", help=f"of {', '.join(JOBS)}")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in JOBS]:
        parser.error(f"no job '{unknown[0]}'; there is {', '.join(JOBS)}")
    if {"finetune", "frozen"} & set(names) and "scratch" not in names:
        names.insert(0, "scratch")  # whose weights they begin from
    same = True
    with tempfile.TemporaryDirectory() as temporary:
        folder, tree = Path(temporary), Path(temporary) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), options.commit], check=True)
        try:
            sides = []
            for path, older in ((tree, True), (ROOT, False)):
                out = folder / ("older" if older else "newer")
                out.mkdir()
                sides.append(Side(path, out, older=older))
            data = write_images(folder / "images")
            for name in names:
                found = list(differences(*(side.run(name, data) for side in sides)))
                print(f"{name}: {'the same tensors' if not found else f'{len(found)} differences'}", flush=True)
                for line in found[:10]:
                    print(f"  {line}")
                same &= not found
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
