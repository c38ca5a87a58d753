from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.object_datasets.objects import ImageObjects, Object, make_sample
from resnets.recipes.override import override
from resnets.recipes.recipe import Data, Recipe
from resnets.tasks.detection.config import DetectionConfig
from resnets.tasks.detection.task import Detection
from resnets.training import train_data


def test_the_command_that_writes_smaller_images_quotes_the_folder(capsys):
    def prepare(path: str, min_side: int) -> np.ndarray:
        return np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20, 3))  # 3 TiB that take no memory

    samples = [Sample("my photos/cat/1.jpg", ("cat",), "train")]
    train_data._cache_images(Recipe(data=Data(location="my photos")), samples, partial(prepare, min_side=8), None)
    assert "resnets data shard 'my photos' SHARDS --resize 8" in capsys.readouterr().err


def color(index: int) -> np.ndarray:
    return np.array([40 * index, 200 - 30 * index, 90])


def make_data(folder: Path, *overrides: str) -> train_data.TrainData:
    """The data of `make_samples`, for a detector of 64 pixels."""
    fixed = ("task.zoom_out=0", "task.object_crop=0", "task.scale_jitter=1,1", "augment.jitter=0", *overrides)
    recipe = Recipe(data=Data(imgsz=64, batch=6, resize="fit"), task=DetectionConfig())
    for each in fixed:
        recipe = override(recipe, each)
    task = Detection(("left", "right"), recipe.task)
    return train_data.TrainData(recipe, task, make_samples(folder), task.preprocess(recipe, None))


def make_samples(folder: Path) -> list[Sample]:
    """Six images of one color each, 48 x 64 pixels, with two objects."""
    samples = []
    for index in range(6):
        Image.fromarray(np.full((48, 64, 3), color(index), np.uint8)).save(folder / f"{index}.png")
        boxes = {"left": (2.0, 8.0, 14.0, 40.0), "right": (50.0, 8.0, 62.0, 40.0)}
        objects = ImageObjects(tuple(Object(name, box) for name, box in boxes.items()), (48, 64))
        samples.append(make_sample(str(folder / f"{index}.png"), objects, split="train"))
    return samples


def test_the_first_batch_has_the_images_of_each_mosaic(tmp_path: Path) -> None:
    data = make_data(tmp_path, "task.mosaic=0.5", "stop.epochs=4")
    images = [image for image, _ in data.first_batch(make_samples(tmp_path))]
    seen = [
        sum((np.abs(image.astype(int) - color(index)).sum(axis=2) < 6).any() for index in range(6)) for image in images
    ]
    assert len(seen) == 6
    assert (min(seen), max(seen)) == (1, 4)


def test_a_caption_of_the_first_batch_has_the_classes_that_a_crop_left(tmp_path: Path) -> None:
    data = make_data(tmp_path, "task.object_crop=1")
    captions = [caption for _, caption in data.first_batch(make_samples(tmp_path))]
    targets = next(data.batches(EpochStep(0))).targets
    left = [", ".join(("left", "right")[label] for label in each["labels"].tolist()) for each in targets]
    assert captions == left
    assert {"left", "right"} & set(captions)


def test_mosaics_end_before_the_last_steps_and_sizes_change_with_the_shorter_side(tmp_path: Path) -> None:
    plain, varied = make_data(tmp_path), make_data(tmp_path, "task.mosaic=1", "task.multiscale=true", "stop.epochs=20")
    assert plain.scheduled is None
    assert varied.scheduled is not None
    assert varied.scheduled.mosaic_end == (17, 0)
    for epochs, end in ((1, (0, 2)), (2, (1, 2))):  # of three steps each
        short = make_data(tmp_path, "task.mosaic=1", f"stop.epochs={epochs}", "data.batch=2")
        assert short.scheduled is not None
        assert short.scheduled.mosaic_end == end
    images = next(varied.batches(EpochStep(17))).images
    assert len({image.shape for image in images}) == 1
    assert tuple(images[0].shape[1:]) in {(48, 64), (72, 96)}
    limited = make_data(tmp_path, "task.multiscale=true", "task.shorter_side=24")
    sizes = {tuple(image.shape[1:]) for epoch in range(8) for image in next(limited.batches(EpochStep(epoch))).images}
    assert sizes == {(24, 32), (36, 48)}
