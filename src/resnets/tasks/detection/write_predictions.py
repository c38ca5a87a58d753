"""Write predicted objects: images with boxes, COCO JSON, YOLO's text files, crops, and masks."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_masks
from PIL import Image

from resnets import atomic_write
from resnets.data.image.decode import decode
from resnets.tasks.detection.draw_objects import draw
from resnets.tasks.detection.prediction import Prediction
from resnets.tasks.outputs.choose_files import choose_files, save_jpeg
from resnets.tasks.outputs.copy_by_class import folder_name

Sink = Callable[[Prediction], None]


@contextlib.contextmanager
def drawn_images(folder: str, class_names: Sequence[str]) -> Iterator[Sink]:
    """A JPEG file of each image with its boxes and masks."""
    name_of = choose_files(Path(folder))
    indices = {name: index for index, name in enumerate(class_names)}

    def write(prediction: Prediction) -> None:
        objects = prediction.objects
        boxes, scores = np.array([each.box for each in objects]), np.array([each.score for each in objects])
        labels = np.array([indices[each.label] for each in objects], np.int64)
        masks = [each.rle for each in objects if each.rle is not None] or None
        pixels = draw(decode(prediction.path), boxes.reshape(-1, 4), labels, class_names, scores, masks)
        save_jpeg(pixels, name_of(prediction.path, ".jpg"))

    yield write


@contextlib.contextmanager
def coco_file(path: str, class_names: Sequence[str]) -> Iterator[Sink]:
    """One file in COCO's format of annotations, each with its "score". Images and classes are numbered from 1.

    pycocotools' `loadRes` takes the list "annotations", for annotated images with the same numbers.
    """
    atomic_write.check_file_writable(path)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers = {name: number for number, name in enumerate(class_names, start=1)}

    def write(prediction: Prediction) -> None:
        assert prediction.size is not None
        height, width = prediction.size
        images.append({"id": len(images) + 1, "file_name": prediction.path, "height": height, "width": width})
        for each in prediction.objects:
            x1, y1, x2, y2 = each.box
            mask = {} if each.rle is None else {"segmentation": each.rle}
            area = (x2 - x1) * (y2 - y1) if each.rle is None else int(coco_masks.area(each.rle))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": len(images), "category_id": numbers[each.label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area, "iscrowd": 0, "score": each.score,
                    **mask,
                }
            )  # fmt: skip

    yield write
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    content = {"images": images, "categories": categories, "annotations": annotations}
    atomic_write.write_text(path, json.dumps(content) + "\n")


@contextlib.contextmanager
def yolo_files(folder: str, class_names: Sequence[str]) -> Iterator[Sink]:
    """A text file for each image: class, center, width and height as fractions, score. `classes.txt` has the names."""
    name_of = choose_files(Path(folder), taken={"classes.txt"})
    indices = {name: index for index, name in enumerate(class_names)}

    def write(prediction: Prediction) -> None:
        assert prediction.size is not None
        height, width = prediction.size
        lines = []
        for each in prediction.objects:
            x1, y1, x2, y2 = each.box
            numbers = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height, each.score
            lines.append(" ".join([str(indices[each.label]), *(f"{value:.8f}" for value in numbers)]) + "\n")
        atomic_write.write_text(name_of(prediction.path, ".txt"), "".join(lines))

    atomic_write.write_text(Path(folder) / "classes.txt", "".join(f"{name}\n" for name in class_names))
    yield write


@contextlib.contextmanager
def object_crops(folder: str, class_names: Sequence[str]) -> Iterator[Sink]:
    """A JPEG file of the pixels of each box, in a folder for each class."""
    name_of = choose_files(Path(folder))

    def write(prediction: Prediction) -> None:
        if not prediction.objects:
            return
        image, name = decode(prediction.path), name_of(prediction.path, "")
        for number, each in enumerate(prediction.objects, start=1):
            left, top = (math.floor(value) for value in each.box[:2])
            right, bottom = (math.ceil(value) for value in each.box[2:])
            pixels = image[top : max(bottom, top + 1), left : max(right, left + 1)]
            if pixels.size:
                save_jpeg(pixels, Path(folder) / folder_name(each.label) / f"{name.name}-{number}.jpg")

    yield write


@contextlib.contextmanager
def mask_images(folder: str, class_names: Sequence[str]) -> Iterator[Sink]:
    """A PNG file of each image whose pixels are the number of their object, from 1 in the order of the scores; 0: of none."""
    name_of = choose_files(Path(folder))

    def write(prediction: Prediction) -> None:
        assert prediction.size is not None
        numbers = np.zeros(prediction.size, np.uint8 if len(prediction.objects) < 256 else np.uint16)
        for number, each in reversed(list(enumerate(prediction.objects, start=1))):
            mask = each.mask
            assert mask is not None
            numbers[mask] = number
        with atomic_write.replace_file(name_of(prediction.path, ".png")) as temporary:
            Image.fromarray(numbers).save(temporary, "PNG")

    yield write


def writers(class_names: Sequence[str], *, masks: bool) -> Mapping[str, Callable[[str], AbstractContextManager[Sink]]]:
    """See `Task.writers`."""
    kinds = {
        "draw": drawn_images,
        "coco_json": coco_file,
        "yolo_labels": yolo_files,
        "object_crops": object_crops,
    }
    kinds |= {"masks": mask_images} if masks else {}
    return {name: partial(kind, class_names=class_names) for name, kind in kinds.items()}
