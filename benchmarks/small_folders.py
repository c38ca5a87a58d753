"""Which learning rates suit small folders: finetuning and a frozen backbone, on flowers and two subsets of CIFAR-10.

    python benchmarks/small_folders.py FLOWERS CIFAR10 OUT

FLOWERS is TensorFlow's flower_photos, CIFAR10 a folder of class folders with the 10,000 test images. Each row of
`OUT/rates.csv` is one training from `resnets.train` and its accuracy on images that were not used in it; rows that
exist already are not computed again. The summary goes to stdout.

Flowers begin from the weights in the package, `cifar_resnet20.cifar10`. Those were trained on CIFAR-10's training images, so
for its subsets a backbone is trained here on five classes of the test images, and the subsets are of the other five.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import random
import shutil
import tempfile
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import mean, stdev

import torch

import resnets

BACKBONE_CLASSES = ("airplane", "automobile", "cat", "deer", "frog")
OTHER_CLASSES = ("bird", "dog", "horse", "ship", "truck")
BUNDLED = "cifar_resnet20.cifar10"
BATCH = 16
FROZEN = [
    {"way": "frozen", "lr": lr, "factor": 0.1, "epochs": epochs}
    for epochs, lr in itertools.product((12, 60), (7e-4, 3e-3, 1e-2, 3e-2, 1e-1))
]
FINETUNED = [
    {"way": "finetune", "lr": lr, "factor": factor, "epochs": epochs}
    for epochs, factor, lr in [
        *itertools.product((12,), (0.1, 0.02), (7e-4, 3e-3, 1e-2, 3e-2)),
        *itertools.product((30,), (0.1,), (7e-4, 3e-3, 1e-2)),
    ]
]
# The short runs with the usual factor first, since the whole grid takes hours.
SETTINGS = sorted(FROZEN + FINETUNED, key=lambda how: (how["epochs"] != 12, how["factor"] != 0.1))
COLUMNS = ("data", "weights", "way", "lr", "factor", "epochs", "seed", "top1")


def subset(data: Path, classes: tuple[str, ...], out: Path, *, num_train: int, num_test: int) -> Path:
    """Copy `num_train` images of each class to `out/train`, and `num_test` others to `out/test`, unless they exist."""
    if (out / ".complete").exists():
        return out
    for name in classes:
        images = sorted((data / name).iterdir())
        random.Random(0).shuffle(images)
        for split, chosen in (("train", images[:num_train]), ("test", images[num_train : num_train + num_test])):
            (out / split / name).mkdir(parents=True, exist_ok=True)
            for image in chosen:
                shutil.copy(image, out / split / name)
    (out / ".complete").touch()
    return out


def backbone(cifar: Path, out: Path, model: str, imgsz: int, epochs: int) -> Path:
    """Train `model` on five classes of CIFAR-10's test images, unless the run exists."""
    if not (out / model / "metrics.json").exists():
        shutil.rmtree(out / model, ignore_errors=True)
        data = subset(cifar, BACKBONE_CLASSES, out / "data", num_train=1000, num_test=0)
        resnets.train(data / "train", model=model, imgsz=imgsz, epochs=epochs, out=out, name=model, val_fraction=0.1)
    return out / model


def trained(data: Path, weights: str | Path, imgsz: int, seed: int, how: dict) -> float:
    """Train once, and return the top-1 accuracy on the test images."""
    overrides = [f"data.split_seed={seed}"]
    if how["way"] == "finetune":
        overrides.append(f"freeze.backbone_lr_factor={how['factor']}")
    with tempfile.TemporaryDirectory() as folder:
        run = resnets.train(
            data / "train",
            weights=weights,
            imgsz=imgsz,
            epochs=how["epochs"],
            lr=how["lr"],
            batch=BATCH,
            workers=0,
            freeze="backbone" if how["way"] == "frozen" else None,
            seed=seed,
            out=folder,
            name="run",
            overrides=overrides,
        ).run
        classifier = resnets.load(run, backend="torch")
        images = [str(path) for path in sorted((data / "test").rglob("*.*"))]
        predictions = list(classifier.predict(images))
    return mean(prediction.label == Path(prediction.path).parent.name for prediction in predictions)


def summary(rows: list[dict[str, str]]) -> None:
    """Mean and standard deviation over the seeds of each setting, the best of each group marked."""
    groups: dict[tuple, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        group = (row["data"], row["weights"], row["way"])
        groups[group][row["epochs"], row["factor"], row["lr"]].append(float(row["top1"]))
    for group, settings in groups.items():
        print(*group)
        top = max(map(mean, settings.values()))
        for (epochs, factor, lr), values in sorted(settings.items(), key=lambda item: tuple(map(float, item[0]))):
            spread = f" ± {stdev(values):.1%}" if len(values) > 1 else ""
            mark = " best" if mean(values) == top else ""
            print(f"  {epochs:>3} epochs, backbone x {factor:<5} lr {lr:<7} {mean(values):.1%}{spread}{mark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("flowers", type=Path)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resnet18", action="store_true", help="with a ResNet-18 of 64 pixels instead (for a GPU)")
    parser.add_argument("--processes", type=int, default=1, help="trainings at once, each with one thread")
    options = parser.parse_args()
    flower_classes = tuple(sorted(path.name for path in options.flowers.iterdir() if path.is_dir()))
    flowers = subset(options.flowers, flower_classes, options.out / "flowers_60", num_train=60, num_test=100)
    small = subset(options.cifar10, OTHER_CLASSES, options.out / "cifar_60", num_train=60, num_test=200)
    tiny = subset(options.cifar10, OTHER_CLASSES, options.out / "cifar_20", num_train=20, num_test=200)
    own = backbone(options.cifar10, options.out / "backbone", "cifar_resnet20", 32, 12)
    jobs = [(flowers, BUNDLED, 32), (small, own, 32), (tiny, own, 32)]
    if options.resnet18:
        large = backbone(options.cifar10, options.out / "backbone", "resnet18", 64, 15)
        jobs = [(flowers, large, 64), (small, large, 64), (tiny, large, 64)]
    table = options.out / "rates.csv"
    if not table.exists():
        table.write_text(",".join(COLUMNS) + "\n")
    with table.open(newline="") as file:
        done = {tuple(row[name] for name in COLUMNS[:-1]) for row in csv.DictReader(file)}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, torch.set_num_threads, (1,)) as pool:
        futures = {}
        for how, seed, (data, weights, imgsz) in itertools.product(SETTINGS, range(options.seeds), jobs):
            key = tuple(str(each) for each in (data.name, Path(weights).name, *how.values(), seed))
            if key not in done:
                futures[pool.submit(trained, data, weights, imgsz, seed, how)] = key
        for future in as_completed(futures):
            with table.open("a", newline="") as file:
                csv.writer(file).writerow([*futures[future], f"{future.result():.4f}"])
    with table.open(newline="") as file:
        summary(list(csv.DictReader(file)))


if __name__ == "__main__":
    main()
