"""Read COCO's object detection format: Roboflow's folders, COCO's own layout, and single JSON files."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset, split_from_name
from resnets.data.datasets.walk_folders import list_folder
from resnets.data.object_datasets.find_annotation_files import find_named
from resnets.data.object_datasets.object_masks import Mask, read_segmentation
from resnets.data.object_datasets.objects import (
    Fault,
    ImageObjects,
    Object,
    make_sample,
    read_box,
    read_class,
    read_number,
)
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize

ROBOFLOW = "_annotations.coco.json"
INSTANCES = "instances_"  # how COCO's own files begin; captions_ and person_keypoints_ are beside them
SEARCHED = 1 << 16  # bytes in which one of the lists begins
_LISTS = re.compile(rb'"(images|annotations)"\s*:\s*\[')
_TRIED = 20  # images that are looked for to find their folder


def recognizes(path: Path) -> bool:
    """Whether it is a JSON file of this format, or a folder with such files in one of the usual places."""
    return bool(_find_files(path))


def read(path: Path) -> Dataset:
    """Read what `recognizes` recognizes: a JSON file; a folder with `_annotations.coco.json`, or with folders train, valid and
    test that have one each; a folder with `annotations/instances_train2017.json`; or with JSON files named for their splits.

    Classes are known by name, whatever their ids. `Dataset.listed_classes` has all but the parent that Roboflow adds to its
    classes.

    Raises:
        UserError: a file is not JSON, has no images, or its images are nowhere to be found.
    """
    root = path if path.is_dir() else _root_of_file(path)
    samples: list[Sample] = []
    names: list[str] = []
    warnings: list[str] = []
    for file, split in _find_files(path).items():
        content = _load(file)
        categories = _categories(file, content)
        names += _listed_names(content, categories)
        found, notes = _samples(file, content, categories, _find_image_folder(file, root, content["images"]), split)
        samples += found
        warnings += notes
    dataset = build_dataset(root, samples, layout_warnings=warnings)
    return replace(dataset, listed_classes=tuple(dict.fromkeys(names)))


def _find_files(path: Path) -> dict[Path, str | None]:
    """The JSON files of the dataset, each with its split."""
    if path.is_file():
        return {path: None} if path.suffix.lower() == ".json" and _is_coco(path) else {}
    files = find_named(path, [ROBOFLOW], _is_coco)
    if not files:
        beside = [*list_folder(path, UnusedFiles()).others, *list_folder(path / "annotations", UnusedFiles()).others]
        found = [file for file in beside if file.suffix.lower() == ".json" and _is_coco(file)]
        found = [file for file in found if file.name.startswith(INSTANCES)] or found
        files = {file: split_from_name(file.stem.removeprefix(INSTANCES)) for file in found}
    if len(files) > 1 and (None in files.values() or len(set(files.values())) < len(files)):
        raise UserError(
            f"'{path}' has {format_list([file.name for file in files], 5)}, which are not one file for each split. Name them "
            "train.json, val.json and test.json, or give one of them."
        )
    return files


def _is_coco(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _LISTS.search(stream.read(SEARCHED)) is not None
    except OSError:
        return False


def _root_of_file(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{file}' is not JSON: {error}.") from error
    for name in ("images", "annotations", "categories"):
        values = content.get(name) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise UserError(f"'{file}' has no list '{name}' of objects, as COCO's format has.")
    if not content["images"]:
        raise UserError(f"'{file}' lists no images.")
    return dict(content)


def _categories(file: Path, content: Mapping[str, Any]) -> dict[object, str]:
    names: dict[object, str] = {}
    for each in content["categories"]:
        key = _key(each.get("id"))
        try:
            name = read_class(each.get("name"))
        except ValueError:
            name = ""
        if not name or key is None:
            raise UserError(f"'{file}' has the category {json.dumps(each)[:80]}; each needs an id and a name.")
        if names.setdefault(key, name) != name:
            raise UserError(f"'{file}' gives the category id {key} to '{names[key]}' and to '{name}'.")
    return names


def _listed_names(content: Mapping[str, Any], categories: Mapping[object, str]) -> list[str]:
    """The names of the categories, without those that only stand above others."""
    parents = [each.get("supercategory") for each in content["categories"] if each.get("supercategory") != each["name"]]
    return [name for name in categories.values() if name not in parents]


def _key(value: object) -> object:
    """An id as a key of a dictionary; some programs write numbers as text."""
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _find_image_folder(file: Path, root: Path, images: Sequence[Mapping[str, Any]]) -> tuple[Path, bool]:
    """The folder that the file names are relative to, and whether they lie in it without their folders.

    It is the one in which most of the first images are.
    """
    stem = file.stem.removeprefix(INSTANCES)
    split = split_from_name(stem)
    places = [file.parent, root, root / "images", root / stem, root / "images" / stem]
    for above in (root, root / "images"):
        folders = list_folder(above, UnusedFiles()).folders if split else []
        places += [folder for folder in folders if split_from_name(folder.name) == split]
    names = [name for each in images[:_TRIED] if (name := _file_name(each))]
    tried = [(sum(_exists(_join(place, name, flat)) for name in names), place, flat) for flat in (False, True)
             for place in dict.fromkeys(places)]  # fmt: skip
    most, place, flat = max(tried, key=lambda each: each[0])
    if names and not most:
        shown = format_list(dict.fromkeys(places), 8)
        raise UserError(f"The images of '{file}', such as '{names[0]}', are in none of the folders {shown}.")
    return place, flat


def _file_name(image: Mapping[str, Any]) -> str:
    name = image.get("file_name")
    return name.replace("\\", "/") if isinstance(name, str) and "\0" not in name else ""


def _join(folder: Path, name: str, flat: bool) -> str:
    return os.path.join(folder, name.rpartition("/")[2] if flat else name)


def _exists(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:
        return False


def _samples(
    file: Path,
    content: Mapping[str, Any],
    categories: Mapping[object, str],
    place: tuple[Path, bool],
    split: str | None,
) -> tuple[list[Sample], list[str]]:
    """The samples of a file, and warnings."""
    by_image: dict[object, list[Mapping[str, Any]]] = defaultdict(list)
    for each in content["annotations"]:
        by_image[_key(each.get("image_id"))].append(each)
    samples: list[Sample] = []
    unnamed = 0
    for image in content["images"]:
        key, name = _key(image.get("id")), _file_name(image)
        if key is None or not name:
            unnamed += 1
            continue
        target = _image_objects(by_image.pop(key, ()), categories, _size(image))
        samples.append(make_sample(_join(place[0], name, place[1]), target, split=split))
    orphans = sum(map(len, by_image.values()))
    warnings = [f"'{file}' has {pluralize(orphans, 'object')} of images that it does not list"] if orphans else []
    if unnamed:
        warnings.append(f"'{file}' has {pluralize(unnamed, 'image')} without id or file_name")
    return samples, warnings


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) as annotated, if both are numbers of pixels."""
    size = image.get("height"), image.get("width")
    return size if all(isinstance(side, int) and side > 0 for side in size) else None  # type: ignore[return-value]


def _image_objects(
    annotations: Iterable[Mapping[str, Any]], categories: Mapping[object, str], size: tuple[int, int] | None
) -> ImageObjects:
    objects, faults = [], []
    for number, each in enumerate(annotations, 1):
        label = categories.get(_key(each.get("category_id")))
        if label is None:
            faults.append(Fault(number, "no-class", f"category_id {str(each.get('category_id'))[:40]}"))
            continue
        try:
            mask = read_segmentation(each.get("segmentation"))
        except ValueError as error:
            mask = None
            faults.append(Fault(number, "bad-mask", str(error)))
        try:
            objects.append(_object(label, each, mask))
        except ValueError as error:
            faults.append(Fault(number, "bad-box", str(error)))
    return ImageObjects(tuple(objects), size, tuple(faults))


def _object(label: str, annotation: Mapping[str, Any], mask: Mask | None) -> Object:
    area = annotation.get("area")
    area = None if area is None else read_number(area)
    if annotation.get("bbox") in (None, []) and mask is not None:
        box = mask.box()
    else:
        x, y, width, height = read_box(annotation.get("bbox"))
        box = (x, y, x + width, y + height)
    return Object(label, box, mask, crowd=annotation.get("iscrowd") in (1, True, "1"), area=area)
