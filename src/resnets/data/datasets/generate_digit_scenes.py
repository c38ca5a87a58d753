"""The built-in dataset `digit-scenes`: several real digits in an image, with its classes and the boxes of the digits."""

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.datasets import digits
from resnets.data.datasets.digits import Digit
from resnets.data.datasets.generate_shapes import SPLIT_CYCLE, box
from resnets.errors import UserError
from resnets.progress import progress_bar

CLASSES = tuple("0123456789")
MAX_DIGITS = 4
MIN_SIDE, MAX_SIDE = 0.4, 0.5  # of the enlarged 8x8 pixels, relative to the side of the scene
VISIBLE = 64  # of 255: how bright a pixel of a digit must be to belong to it
ATTEMPTS = 50  # to find a free position for one more digit before it is left out
CLASSES_FILE, ANNOTATIONS_FILE = "_classes.csv", "_annotations.coco.json"  # as Roboflow names them

Box = tuple[int, int, int, int]  # x, y, width, height


@dataclass(frozen=True)
class Settings:
    size: int = 64  # side in pixels
    count: int = 2000  # scenes in all
    seed: int = 0


@dataclass(frozen=True)
class Scene:
    """One scene: its digits, the box of the visible pixels of each, and (size, size) uint8 pixels."""

    pixels: np.ndarray
    digits: tuple[Digit, ...]
    boxes: tuple[Box, ...]


def make_settings(**values: int | None) -> Settings:
    """Settings from the values that are not None.

    Raises:
        UserError: a value out of range.
    """
    settings = Settings(**{name: value for name, value in values.items() if value is not None})
    for name, low, high in (("size", 32, 1024), ("count", 50, 10**6)):
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UserError(f"`{name}` is {value}; digit-scenes can be written with {low} to {high:,}.")
    return settings


def write(folder: Path, settings: Settings) -> None:
    """Write `folder/{train,val,test}/NNNNNN.png`, with the classes and the boxes of each split in two of Roboflow's formats.

    No digit of scikit-learn is in two splits. A scene depends on its number, the seed and the size, but not on their count.
    """
    by_split: dict[str, list[Digit]] = {split: [] for split in digits.FRACTIONS}
    for digit in digits.read():
        by_split[digit.split].append(digit)
    scenes: dict[str, list[tuple[str, Scene]]] = {split: [] for split in by_split}
    for index in progress_bar(range(settings.count), description="writing", unit="images"):
        split = SPLIT_CYCLE[index % len(SPLIT_CYCLE)]
        scene, name = draw(index, by_split[split], settings), f"{index:06}.png"
        (folder / split).mkdir(exist_ok=True)
        Image.fromarray(scene.pixels).save(folder / split / name)
        scenes[split].append((name, scene))
    for split, named in scenes.items():
        (folder / split / CLASSES_FILE).write_text(_classes_table(named), encoding="utf-8")
        (folder / split / ANNOTATIONS_FILE).write_text(_annotations(named, settings.size), encoding="utf-8")


def draw(index: int, available: Sequence[Digit], settings: Settings) -> Scene:
    """Scene number `index`, of digits among `available`."""
    # Python promises that this generator gives the same numbers in every version; numpy does not.
    generator = random.Random(f"digit-scenes {settings.seed} {settings.size} {index}")
    pixels = np.full((settings.size, settings.size), generator.uniform(0, 96), dtype=np.float32)
    chosen: list[Digit] = []
    boxes: list[Box] = []
    for _ in range(generator.randint(1, MAX_DIGITS)):
        digit = generator.choice(available)
        side = round(settings.size * generator.uniform(MIN_SIDE, MAX_SIDE))
        cover = np.asarray(Image.fromarray(digit.pixels).resize((side, side), Image.Resampling.BICUBIC))
        brightness = generator.uniform(176, 255)
        position = _free_position(generator, box(cover >= VISIBLE), side, settings.size, boxes)
        if position is None:
            continue
        (x, y), place = position
        alpha = cover.astype(np.float32) / 255
        window = pixels[y : y + side, x : x + side]
        window[...] = window * (1 - alpha) + brightness * alpha
        chosen.append(digit)
        boxes.append(place)
    return Scene(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), tuple(chosen), tuple(boxes))


def _free_position(
    generator: random.Random, inner: Box, side: int, size: int, taken: Sequence[Box]
) -> tuple[tuple[int, int], Box] | None:
    """A corner for a digit of that side, and its box `inner` there, which meets no other box; None if none was found."""
    for _ in range(ATTEMPTS):
        x, y = generator.randint(0, size - side), generator.randint(0, size - side)
        place = (x + inner[0], y + inner[1], inner[2], inner[3])
        if not any(
            all(
                place[axis] < other[axis] + other[axis + 2] and other[axis] < place[axis] + place[axis + 2]
                for axis in (0, 1)
            )
            for other in taken
        ):
            return (x, y), place
    return None


def _classes_table(scenes: Sequence[tuple[str, Scene]]) -> str:
    """A row for each scene: its file name, and 1 for each class that it has, else 0."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["filename", *CLASSES])
    for name, scene in scenes:
        present = {digit.label for digit in scene.digits}
        writer.writerow([name, *(int(label in present) for label in CLASSES)])
    return table.getvalue()


def _annotations(scenes: Sequence[tuple[str, Scene]], size: int) -> str:
    """COCO's object detection format: images, categories, and a box [x, y, width, height] for each digit."""
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for image, (name, scene) in enumerate(scenes):
        images.append({"id": image, "file_name": name, "width": size, "height": size})
        for digit, place in zip(scene.digits, scene.boxes, strict=True):
            values = {"bbox": place, "area": place[2] * place[3], "iscrowd": 0}
            keys = {"id": len(annotations), "image_id": image, "category_id": CLASSES.index(digit.label) + 1}
            annotations.append(keys | values)
    categories = [{"id": number, "name": name, "supercategory": "digit"} for number, name in enumerate(CLASSES, 1)]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations}) + "\n"
