"""Measure this project beside its peers: every job, or those that are named.

    python benchmarks/run.py [JOB ...] [--rounds 3] [--flowers FOLDER] [--tiny]

`make bench` sets up the peers and calls this. Results go to benchmarks/results/, one file a job.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import pictures
import table
from harness import HERE, OURS, PEERS, Contender, Job, compare

WORK = HERE.parent / "build" / "benchmarks"


def jobs(*, tiny: bool, flowers: Path | None) -> dict[str, Job]:
    """All jobs; `tiny` shrinks them until they only show that they run."""
    count = {"predict": 2000, "train": 640, "cifar": 12_800, "large": 24, "memory": 1000}
    if tiny:
        count = {"predict": 48, "train": 40, "cifar": 1440, "large": 2, "memory": 40}
    made = [_predict(count["predict"]), _transfer(flowers, tiny), _train(count["train"], tiny)]
    made += [_cifar(count["cifar"]), _decode(count["large"]), _memory(count["memory"])]
    return {job.name: job for job in made}


def _ours(script: str, *arguments: object) -> tuple[str, ...]:
    return (str(OURS), str(HERE / "contenders" / script), *map(str, arguments))


def _peers(script: str, *arguments: object) -> tuple[str, ...]:
    return (str(PEERS), str(HERE / "contenders" / script), *map(str, arguments))


def _predict(count: int) -> Job:
    folder = pictures.photographs(WORK / f"photographs-{count}", count)
    weights = pictures.checkpoint(WORK / "resnet50.safetensors", "resnet50", classes=5)
    return Job(
        "predict", f"predict a folder of {count:,} JPEGs with resnet50 at 224, end to end", "pictures/s",
        (
            Contender("resnets", _ours("resnets_predict.py", folder, weights, WORK / "answers.csv")),
            Contender("torchvision script", _ours("torchvision_predict.py", folder), 5.0),
            Contender("Keras on TensorFlow", _peers("keras_predict.py", folder), 2.5),
            Contender("OpenVINO bf16 on ready tensors", _ours("openvino_tensors.py", min(count, 640)), 0.9),
        ),
    )  # fmt: skip


def _transfer(flowers: Path | None, tiny: bool) -> Job:
    folder = flowers or pictures.photographs(WORK / "photographs-100", 100)
    weights = pictures.checkpoint(WORK / "keras_resnet50.safetensors", "keras_resnet50", classes=1000)
    epochs = 1 if tiny else 10
    arguments = (folder, "--recipe", "tutorial_transfer", "--weights", weights, "--epochs", epochs)
    return Job(
        "transfer", f"a frozen resnet50 at 180x180 and a new head, {epochs} epochs", "jobs/s",
        (
            Contender("resnets", _ours("resnets_train_whole.py", WORK / "runs", *arguments)),
            Contender("Keras on TensorFlow", _peers("keras_transfer.py", folder, "none", epochs), 15.0),
        ),
    )  # fmt: skip


def _train(count: int, tiny: bool) -> Job:
    folder = pictures.photographs(WORK / f"photographs-{count}", count)
    steps = 2 if tiny else 24
    settings = ("--model", "resnet50", "--imgsz", 224, "--batch", 16, "--epochs", 2, "--val-fraction", 0)
    return Job(
        "train_resnet50", "train resnet50 at 224, batch 16", "pictures/s",
        (
            Contender("resnets", _ours("resnets_train.py", WORK / "runs", folder, *settings)),
            Contender("torchvision script", _ours("torchvision_train.py", folder, 16, steps), 2.6),
            Contender("Keras on TensorFlow", _peers("keras_train.py", folder, 16, steps), 3.5),
        ),
    )  # fmt: skip


def _cifar(count: int) -> Job:
    folder = pictures.small(WORK / f"small-{count}", count)
    steps = 3 * (count * 9 // 10 // 128)  # three epochs
    settings = ("--recipe", "he2015_cifar", "--model", "cifar_resnet20", "--set", f"stop.steps={steps}")
    return Job(
        "train_cifar", "train cifar_resnet20, batch 128, with augmentation", "pictures/s",
        (
            Contender("resnets", _ours("resnets_train.py", WORK / "runs", folder, *settings)),
            Contender("torchvision-style script", _ours("cifar_script.py", folder / "train"), 3.0),
        ),
    )  # fmt: skip


def _decode(count: int) -> Job:
    folder = pictures.photographs(WORK / f"large-{count}", count, width=4000, height=3000)
    return Job(
        "decode", "12-megapixel JPEGs to 224 tensors, on one core", "pictures/s",
        (
            Contender("resnets", _ours("resnets_decode.py", folder)),
            Contender("Pillow and torchvision", _ours("pillow_decode.py", folder), 6.0),
        ),
    )  # fmt: skip


def _memory(count: int) -> Job:
    weights = pictures.checkpoint(WORK / "tiny.safetensors", "tiny", classes=10)
    few, many = (pictures.small(WORK / f"small-{number}", number) for number in (count, 10 * count))
    return Job(
        "memory", f"peak memory of predict at {count:,} and at {10 * count:,} pictures", "1/bytes",
        (
            Contender("resnets, ten times the pictures", _ours("resnets_memory.py", many, weights)),
            Contender("resnets", _ours("resnets_memory.py", few, weights), 1 / 1.05),
        ),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="JOB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flowers", type=Path, help="TensorFlow's flower_photos, for the job 'transfer'")
    parser.add_argument("--tiny", action="store_true", help="only show that everything runs")
    options = parser.parse_args()
    known = jobs(tiny=options.tiny, flowers=options.flowers)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no job '{unknown[0]}'; there is {', '.join(known)}")
    for name in options.names or known:
        compare(known[name], rounds=options.rounds)
    print(table.text())
    if not options.tiny:
        table.draw(HERE.parent / "docs" / "images" / "speed.png")


if __name__ == "__main__":
    main()
