"""Measure training and prediction on an NVIDIA GPU beside scripts on torchvision and timm.

    python benchmarks/gpu.py [JOB ...] [--rounds 1] [--tiny]

Results go to benchmarks/results/gpu/, one file a job; `benchmarks/run.py` measures the CPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import generate_inputs
import table
import torch
from harness import OURS, RESULTS, Contender, Job, compare
from jobs import WORK, with_script

FULL = {"images": 320, "links": 8, "batch": 128, "steps": 20, "epochs": 3, "cifar": 12_800}
TINY = {"images": 48, "links": 1, "batch": 8, "steps": 2, "epochs": 1, "cifar": 1440}


def jobs(*, tiny: bool, workers: int) -> dict[str, Job]:
    """All jobs by their names; `workers` is the number of processes that prepare images for the scripts."""
    size = TINY if tiny else FULL
    return {
        job.name: job
        for job in (
            _predict(size["images"] * 2, workers),
            _train(size["images"], size["links"], size["batch"], size["steps"], size["epochs"], workers),
            _cifar(size["cifar"], workers),
        )
    }


def _predict(count: int, workers: int) -> Job:
    folder, weights = WORK / f"photographs-{count}", WORK / "resnet50.safetensors"

    def prepare() -> None:
        generate_inputs.photographs(folder, count)
        generate_inputs.checkpoint(weights, "resnet50", num_classes=5)

    settings = ("--device", "cuda", "--workers", workers)
    return Job(
        "predict", f"predict a folder of {count:,} JPEGs with resnet50 at 224, end to end", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_predict.py", folder, weights, WORK / "answers.csv")),
            Contender("torchvision script, TF32", with_script(OURS, "torch_predict.py", folder, "torchvision", *settings)),
            Contender("timm script, TF32", with_script(OURS, "torch_predict.py", folder, "timm", *settings), None, ("timm",)),
        ),
        prepare,
    )  # fmt: skip


def _train(count: int, links: int, batch: int, steps: int, epochs: int, workers: int) -> Job:
    """An epoch is longer than what loaders prepare ahead, or their speed would not be measured."""
    folder = WORK / f"photographs-{count}x{links}"

    def prepare() -> None:
        photographs = generate_inputs.photographs(WORK / f"photographs-{count}", count)
        for image in sorted(photographs.rglob("*.jpg")):
            (folder / image.parent.name).mkdir(parents=True, exist_ok=True)
            for number in range(links):
                link = folder / image.parent.name / f"{number}_{image.name}"
                if not link.exists():
                    link.hardlink_to(image)

    settings = ("--model", "resnet50", "--imgsz", 224, "--batch", batch, "--epochs", epochs, "--val-fraction", 0)
    ours = ("resnets_train.py", WORK / "runs", folder, *settings)
    script = ("torch_train.py", folder, batch, steps)
    theirs = ("--device", "cuda", "--workers", workers)
    return Job(
        "train_resnet50", f"train resnet50 at 224, batch {batch}", "images/s",
        (
            Contender("resnets", with_script(OURS, *ours)),
            Contender("resnets, fp32", with_script(OURS, *ours, "--precision", "fp32")),
            Contender("resnets, compiled", with_script(OURS, *ours, "--set", "speed.compile=true")),
            Contender("torchvision script, TF32", with_script(OURS, *script, "torchvision", *theirs)),
            Contender("torchvision script, bf16, channels last", with_script(OURS, *script, "torchvision", *theirs, "--amp")),
            Contender("timm script, bf16, channels last", with_script(OURS, *script, "timm", *theirs, "--amp"), None, ("timm",)),
        ),
        prepare,
    )  # fmt: skip


def _cifar(count: int, workers: int) -> Job:
    folder = WORK / f"small-{count}"
    steps = 3 * (count * 9 // 10 // 128)  # three epochs
    settings = ("--recipe", "he2015_cifar", "--model", "cifar_resnet20", "--set", f"stop.steps={steps}")
    theirs = ("--device", "cuda", "--workers", workers)
    return Job(
        "train_cifar", "train cifar_resnet20, batch 128, with augmentation", "images/s",
        (
            Contender("resnets", with_script(OURS, "resnets_train.py", WORK / "runs", folder, *settings)),
            Contender("torchvision-style script, TF32", with_script(OURS, "cifar_script.py", folder / "train", *theirs)),
        ),
        lambda: generate_inputs.small(folder, count),
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="JOB", help="all of them by default")
    parser.add_argument("--rounds", type=int, default=1, help="times that each contender runs; medians are kept")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(len(os.sched_getaffinity(0)) - 1, 1),
        help="processes that prepare images for the scripts",
    )
    parser.add_argument("--tiny", action="store_true", help="only show that everything runs")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("torch finds no GPU on this machine")
    known = jobs(tiny=options.tiny, workers=options.workers)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no job '{unknown[0]}'; there is {', '.join(known)}")
    results = (WORK if options.tiny else RESULTS) / "gpu"
    whole = True
    for name in options.names or known:
        whole &= not compare(known[name], rounds=options.rounds, results=results)["failed"]
    print(torch.cuda.get_device_name(), f"torch {torch.__version__}")
    print(table.text(results))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
