"""The battery of `tasks.py` over the tasks of the package, and over two that are defined in `toys` and in no other file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

CONTRACTS = str(Path(__file__).parent)
sys.path[:0] = [CONTRACTS, f"{CONTRACTS}/toys"]

import brightness  # noqa: E402
import points  # noqa: E402
from tests.in_soak import IN_SOAK  # noqa: E402

from resnets.tasks import registry  # noqa: E402
from resnets.tasks.classification.task import Classification  # noqa: E402
from resnets.tasks.detection.task import Detection  # noqa: E402
from resnets.tasks.multilabel.task import Multilabel  # noqa: E402
from resnets.tasks.segmentation.task import Segmentation  # noqa: E402
from resnets.training.configuration import build_recipe  # noqa: E402
from resnets.training.setup.prepare_run import prepare_run  # noqa: E402
from tasks import TaskContract  # noqa: E402

TRAIN, VAL = 24, 7
KILLED = TaskContract.test_a_killed_run_ends_in_the_same_weights.__name__
RANKS = TaskContract.test_several_ranks_train_and_measure_what_one_does.__name__


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


class TestClassification(TaskContract):
    task = Classification
    settings = ("augment.crop=none", "augment.flip=0", "schedule.warmup_epochs=0")
    overfit = ("top1", 1.0, "max")
    overfit_epochs = 5
    # tests/training kills classifiers and trains them in ranks.
    only_in_soak: ClassVar = {KILLED: "5 s", RANKS: "5 s"}

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        colors = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}
        for index in range(TRAIN):
            label = list(colors)[index % 3]
            pixels = random.normal(colors[label], 40, (32, 32, 3))
            for split in ("train", "val") if index < VAL else ("train",):
                write_image(folder / "data" / split / label / f"{split}{index:02}.png", pixels)
        return folder / "data"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        return float(np.mean([each.label == Path(each.path).parent.name for each in predictions]))


class TestMultilabel(TaskContract):
    task = Multilabel
    settings = ("augment.crop=none", "augment.flip=0", "schedule.warmup_epochs=0")
    overfit = ("f1_micro", 1.0, "max")
    overfit_epochs = 10
    only_in_soak: ClassVar = {KILLED: "6 s", RANKS: "4 s"}  # as of a classifier

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        rows = []
        for index in range(TRAIN):
            present = np.array([index >> bit & 1 for bit in range(3)], dtype=bool)
            pixels = random.normal(60 + 120 * present, 25, (32, 32, 3))
            labels = [name for name, found in zip(("red", "green", "blue"), present, strict=True) if found]
            for split in ("train", "val") if index < VAL else ("train",):
                write_image(folder / f"{split}{index}.png", pixels)
                rows.append({"path": f"{split}{index}.png", "split": split, "labels": labels})
        (folder / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return folder / "data.jsonl"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        rows = [row for row in map(json.loads, data.read_text().splitlines()) if row["split"] == "val"]
        true = [set(row["labels"]) for row in rows]
        found = [{label for label, _ in each.labels} for each in predictions]
        hits = sum(len(one & other) for one, other in zip(true, found, strict=True))
        return 2 * hits / (sum(map(len, true)) + sum(map(len, found)))


class TestDetection(TaskContract):
    task = Detection
    settings = (
        "optim.lr=0.002", "schedule.warmup_epochs=0", "augment.jitter=0", "augment.flip=0", "task.zoom_out=0",
        "task.object_crop=0", "task.scale_jitter=1,1", "task.neck_channels=16", "task.box_head_dim=64", "task.train_proposals=48",
        "task.proposals=48", "task.proposal_samples=32",
    )  # fmt: skip
    overfit = ("f1_micro", 0.9 if IN_SOAK else 0.3, "max")  # begun to learn; 0 at the start
    overfit_epochs = 24 if IN_SOAK else 12
    only_in_soak: ClassVar = {KILLED: "10 s"}  # test_varied_training.py kills another detector
    # Adam divides by the size of a gradient, so that those of rounding errors would become steps.
    rank_settings = ("speed.sync_bn=true", "optim.name=sgd")
    colors: ClassVar = {"blue": (40, 60, 230), "red": (230, 40, 40)}

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        images: dict[str, list[dict[str, Any]]] = {"train": [], "valid": []}
        objects: dict[str, list[dict[str, Any]]] = {"train": [], "valid": []}
        for index in range(TRAIN):
            height, width = ((64, 64), (48, 64), (64, 56))[index % 3]
            pixels = random.normal(110, 12, (height, width, 3))
            boxes = []
            for column in range(index % 3):  # every third image has no object
                side = int(random.integers(14, 24))
                x, y = column * 28 + int(random.integers(0, 5)), int(random.integers(0, height - side))
                label = int(random.integers(2))
                pixels[y : y + side, x : x + side] = list(self.colors.values())[label]
                boxes.append((label + 1, [x, y, side, side]))
            for split in ("train", "valid") if index < VAL else ("train",):
                name = f"{split}{index}.png"
                write_image(folder / "data" / split / name, pixels)
                images[split].append({"id": index, "file_name": name, "height": height, "width": width})
                objects[split] += [
                    {"id": len(objects[split]) + k + 1, "image_id": index, "category_id": label, "bbox": box,
                     "area": box[2] * box[3], "iscrowd": 0}
                    for k, (label, box) in enumerate(boxes)
                ]  # fmt: skip
        for split in images:
            categories = [{"id": number, "name": name} for number, name in enumerate(self.colors, start=1)]
            content = {"images": images[split], "annotations": objects[split], "categories": categories}
            (folder / "data" / split / "_annotations.coco.json").write_text(json.dumps(content))
        return folder / "data"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        content = json.loads((data / "valid" / "_annotations.coco.json").read_text())
        hits, reported = 0, sum(len(each.objects) for each in predictions)
        for image, prediction in zip(content["images"], predictions, strict=True):
            assert prediction.size == (image["height"], image["width"])
            free = [each for each in content["annotations"] if each["image_id"] == image["id"]]
            for found in prediction.objects:
                same = [each for each in free if list(self.colors)[each["category_id"] - 1] == found.label]
                best = max(same, key=lambda each: _iou(found.box, each["bbox"]), default=None)
                if best is not None and _iou(found.box, best["bbox"]) >= 0.5:
                    free.remove(best)
                    hits += 1
        return 2 * hits / (reported + len(content["annotations"]))


def _iou(box: Sequence[float], xywh: Sequence[float]) -> float:
    x, y, width, height = xywh
    inner = [min(box[2], x + width) - max(box[0], x), min(box[3], y + height) - max(box[1], y)]
    shared = max(inner[0], 0.0) * max(inner[1], 0.0)
    return shared / ((box[2] - box[0]) * (box[3] - box[1]) + width * height - shared)


class TestSegmentation(TaskContract):
    task = Segmentation
    settings = (
        "optim.lr=0.01", "schedule.warmup_epochs=0", "augment.jitter=0", "augment.flip=0", "task.scale_jitter=1,1",
        "task.crop_max_class_fraction=1", "task.decoder_channels=16",
    )  # fmt: skip
    overfit = ("miou", 0.9, "max")
    overfit_epochs = 22
    batch = 9
    num_ranks = 3
    # Adam divides by the size of a gradient, so that those of rounding errors would become steps.
    rank_settings = ("speed.sync_bn=true", "optim.name=sgd")
    colors: ClassVar = {"ground": (110, 110, 110), "blue": (40, 60, 230), "red": (230, 40, 40)}
    values: ClassVar = {"ground": 7, "blue": 11, "red": 26}

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        for index in range(TRAIN):
            height, width = ((64, 64), (48, 64), (64, 56))[index % 3]
            mask = np.full((height, width), self.values["ground"], np.uint8)
            for name in ("blue", "red")[: index % 3]:  # every third image has nothing; red has 1 % of the pixels
                side = int(random.integers(16, 30) if name == "blue" else random.integers(10, 13))
                x = int(random.integers(0, width - 30))
                y = int(random.integers(0, height - side))
                mask[y : y + side, x : x + side] = self.values[name]
            pixels = np.zeros((height, width, 3))
            for name, value in self.values.items():
                pixels[mask == value] = self.colors[name]
            pixels += random.normal(0, 12, pixels.shape)
            mask[:2] = 255  # ignored
            for split in ("train", "val") if index < VAL else ("train",):
                write_image(folder / "data" / "images" / split / f"{split}{index:02}.png", pixels)
                write_image(folder / "data" / "masks" / split / f"{split}{index:02}.png", mask)
        rows = "".join(f"{value},{name}\n" for name, value in {**self.values, "ignore": 255}.items())
        (folder / "data" / "classes.csv").write_text(f"value,name\n{rows}")
        return folder / "data"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        names = list(self.values)
        shared, either = np.zeros(len(names)), np.zeros(len(names))
        for prediction in predictions:
            true = np.asarray(Image.open(str(prediction.path).replace("/images/", "/masks/")))
            found = np.array([self.values[name] for name in prediction.class_names])[prediction.mask]
            assert found.shape == true.shape
            for k, value in enumerate(self.values.values()):
                shared[k] += ((true == value) & (found == value)).sum()
                either[k] += (((true == value) | (found == value)) & (true != 255)).sum()
        return float((shared / either).mean())


class TestBrightness(TaskContract):
    task = brightness.Brightness
    module = "brightness"
    settings = ("augment.flip=0.5", "optim.lr=0.05", "schedule.warmup_epochs=0")
    overfit = ("error", 0.05, "min")
    overfit_epochs = 20
    only_in_soak: ClassVar = {KILLED: "3 s"}  # as the other toy

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        rows = []
        for index in range(TRAIN):
            pixels = np.clip(random.normal(random.uniform(20, 230), 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            for split in ("train", "val") if index < VAL else ("train",):
                write_image(folder / f"{split}{index}.png", pixels)
                value = pixels.mean() / 255
                rows.append({"path": f"{split}{index}.png", "split": split, "brightness": value})
        with (folder / "data.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return folder / "data.csv"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        with data.open(newline="") as file:
            true = [float(row["brightness"]) for row in csv.DictReader(file) if row["split"] == "val"]
        return float(np.mean([abs(each.brightness - value) for each, value in zip(predictions, true, strict=True)]))


class TestPoints(TaskContract):
    task = points.Points
    module = "points"
    settings = ("augment.flip=0.5", "optim.lr=0.05", "schedule.warmup_epochs=0", "augment.jitter=0")
    overfit = ("median_error", 3.0, "min")  # pixels; the center of the right cell is 2.8 pixels away
    overfit_epochs = 14
    only_in_soak: ClassVar = {RANKS: "2 s"}  # as the other toy
    sizes: ClassVar = [(32, 40), (48, 32), (36, 36)]

    def write_data(self, folder: Path) -> Path:
        random = np.random.default_rng(0)
        rows = []
        for index in range(TRAIN):
            height, width = self.sizes[index % 3]
            pixels = random.normal(60, 10, (height, width, 3))
            found = []
            for cell in random.permutation((height // 8) * (width // 8))[: random.integers(1, 5)]:
                y, x = 8 * (cell // (width // 8)) + 4, 8 * (cell % (width // 8)) + 4
                pixels[y - 2 : y + 2, x - 2 : x + 2] = 250
                found.append([float(x), float(y)])
            for split in ("train", "val") if index < VAL else ("train",):
                write_image(folder / f"{split}{index}.png", pixels)
                rows.append({"file": f"{split}{index}.png", "split": split, "size": [height, width], "points": found})
        (folder / "data.json").write_text(json.dumps(rows))
        return folder / "data.json"

    def metric_of_predictions(self, predictions: Sequence[Any], data: Path) -> float:
        rows = [row for row in json.loads(data.read_text()) if row["split"] == "val"]
        errors = []
        for prediction, row in zip(predictions, rows, strict=True):
            found, true = np.array(prediction.points).reshape(-1, 2), np.array(row["points"])
            distances = np.linalg.norm(true[:, None] - found[None], axis=2)
            nearest = distances.min(axis=1) if len(found) else np.full(len(true), 100.0)
            errors.append(nearest.mean() + max(len(found) - len(true), 0))
        return float(np.median(errors))


def test_the_beginning_of_the_name_of_a_model_means_its_task(tmp_path: Path) -> None:
    registry.register(points.Points)
    data = TestPoints().write_data(tmp_path)
    request = build_recipe.build_recipe(str(data), "points_tiny", "none", None, {}, [])
    assert (request.task, request.builder.recipe.model.name) == (points.Points, "points_tiny")
    prepared = prepare_run(*request)
    assert prepared.spec.name == "tiny"


def test_every_task_has_a_battery() -> None:
    tested = {each.task.name for each in TaskContract.__subclasses__()}
    assert set(registry.names()) <= tested


def test_an_unknown_task_is_named_with_its_neighbor() -> None:
    with pytest.raises(ValueError, match=r"classificaton.*Did you mean 'classification'"):
        registry.find("classificaton")
