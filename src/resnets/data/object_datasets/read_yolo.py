"""Read YOLO's text files: a data.yaml as of Ultralytics or Roboflow, or a `classes.txt` beside `images` and `labels`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset
from resnets.data.datasets.walk_folders import list_folder, walk_images
from resnets.data.object_datasets.object_masks import read_polygons
from resnets.data.object_datasets.objects import (
    FRACTIONS,
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

CLASSES_FILE = "classes.txt"
MAX_BYTES = 1 << 20  # of a yaml file: it names classes and folders
MAX_BRACKETS = 500  # PyYAML takes seconds for thousands of nested lists
MAX_FRACTION = 2  # larger values are pixels
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
YAML = (".yaml", ".yml")


def recognizes(path: Path) -> bool:
    """Whether it is a data.yaml, or a folder with one, or with `images`, `labels` and `classes.txt`."""
    return _find_yaml(path) is not None or _classes_file(path) is not None


def read(path: Path) -> Dataset:
    """Read what `recognizes` recognizes. Boxes and polygons are fractions of the sides of their image (`FRACTIONS`).

    Folders are relative to `path` in the yaml, to the yaml or to the working directory: whichever exists. The labels of an image
    are where the last folder `images` of its path is replaced by `labels`, or beside it. An image without a label file is not
    annotated; an empty label file says that it has no object.

    Raises:
        UserError: the yaml names no classes or folders, or these do not exist.
    """
    file = _find_yaml(path)
    if file is None:
        return _read_folder(path)
    content = _load(file)
    names = _names(file, content.get("names"))
    splits = {key: content[key] for key in SPLITS if content.get(key)}
    if not splits:
        raise UserError(f"'{file}' has no train, val or test.")
    samples: list[Sample] = []
    for key, places in splits.items():
        split = SPLITS[key] if set(splits) != {"train"} else None
        images = [image for place in _as_list(file, places) for image in _images(file, content.get("path"), place)]
        samples += [_sample(image, file, names, split, "kpt_shape" in content) for image in images]
    dataset = _build(file.parent, file, samples, names)
    if content.get("nc") is not None and str(content["nc"]) != str(len(names)):
        note = f"'{file}' has 'nc: {str(content['nc'])[:40]}', but {_describe(names)}: the names are taken"
        dataset = replace(dataset, layout_warnings=(*dataset.layout_warnings, note))
    return dataset


def _find_yaml(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in YAML and _is_yolo(path) else None
    found = [file for file in list_folder(path, UnusedFiles()).others if file.suffix.lower() in YAML and _is_yolo(file)]
    if len(found) > 1 and path / "data.yaml" not in found:
        raise UserError(f"'{path}' has {format_list([file.name for file in found], 5)}. Give one of them.")
    return path / "data.yaml" if path / "data.yaml" in found else next(iter(found), None)


def _is_yolo(file: Path) -> bool:
    try:
        content = _load(file)
    except UserError:
        return file.name == "data.yaml"  # so that reading it says what is wrong
    has_splits = any(key in content for key in SPLITS)
    return ("names" in content and has_splits) or (file.name == "data.yaml" and ("names" in content or has_splits))


def _classes_file(path: Path) -> Path | None:
    if not (path / "labels").is_dir() or not (path / "images").is_dir():
        return None
    return next((file for file in (path / CLASSES_FILE, path / "labels" / CLASSES_FILE) if file.is_file()), None)


def _load(file: Path) -> dict[str, Any]:
    import yaml

    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError(f"'{file}' has more than {MAX_BYTES:,} bytes; a data.yaml names classes and folders.")
        text = file.read_bytes()
        if text.count(b"[") + text.count(b"{") > MAX_BRACKETS:
            raise UserError(f"'{file}' has more than {MAX_BRACKETS:,} lists; a data.yaml names classes and folders.")
        content = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror}.") from error
    except UserError:
        raise
    except Exception as error:  # PyYAML raises errors of many kinds, such as for a date that does not exist
        raise UserError(f"'{file}' is not YAML: {' '.join(str(error).split())[:200]}.") from error
    if not isinstance(content, dict):
        raise UserError(f"'{file}' is not a data.yaml: it has no names and no folders.")
    return content


def _names(file: Path, names: object) -> dict[int, str]:
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    try:
        found = {int(key): read_class(name) for key, name in pairs if str(key).isdecimal() and len(str(key)) < 9}
    except ValueError as error:
        raise UserError(f"'{file}' has a class without a name: {error}.") from error
    if not found or len(found) != len(names):  # type: ignore[arg-type]
        raise UserError(f"'{file}' needs 'names', a list of the names of the classes, or a name for each number.")
    return found


def _as_list(file: Path, places: object) -> list[str]:
    listed = places if isinstance(places, list) else [places]
    if not all(isinstance(place, str) and "\0" not in place for place in listed):
        raise UserError(
            f"'{file}' has {str(places)[:80]} where a folder, a .txt list or a list of folders is expected."
        )
    return [str(place) for place in listed]


def _images(file: Path, base: object, place: str) -> list[Path]:
    """The images of a folder, or of a .txt list of paths."""
    found = _find_place(file, str(base or ""), place)
    if found.is_dir():
        return list(walk_images(found, UnusedFiles()))
    if found.suffix.lower() in (".txt", ".csv"):
        lines = _text(found).splitlines()
        return [_find_listed(file, found, str(base or ""), line.strip()) for line in lines if line.strip()]
    return [found]


def _find_listed(file: Path, listing: Path, base: str, name: str) -> Path:
    """An image of a list; where it does not exist, the check of the images says so."""
    name = name.replace("\\", "/")
    places = [listing.parent / name, file.parent / base / name, file.parent / name, Path(name)]
    return next((place for place in places if os.path.isfile(place)), places[0])


def _find_place(file: Path, base: str, place: str) -> Path:
    home, place = file.parent, place.replace("\\", "/")
    inside = place
    while inside.startswith("../"):  # Roboflow writes ../train/images into the yaml beside the folder train
        inside = inside.removeprefix("../")
    tried = [home / base / place, Path(base) / place, home / place, home / inside, Path(place)]
    for each in tried:
        if each.exists():
            return each
    shown = format_list(dict.fromkeys(map(str, tried)), 5)
    raise UserError(f"'{file}' names '{place}', which is none of {shown}.")


def _read_folder(path: Path) -> Dataset:
    file = _classes_file(path)
    assert file is not None
    lines = [line.strip() for line in _text(file).splitlines()]
    names = _names(file, {index: name for index, name in enumerate(lines) if name})
    images = list(walk_images(path / "images", UnusedFiles()))
    return _build(path, file, [_sample(image, file, names, None, False) for image in images], names)


def _build(root: Path, file: Path, samples: Sequence[Sample], names: Mapping[int, str]) -> Dataset:
    if not samples:
        raise UserError(f"'{file}' leads to no images.")
    if all(sample.target is None for sample in samples):
        raise UserError(f"No image of '{file}' has a label file; that of '{samples[0].path}' would be one of "
                        f"{format_list(_label_files(Path(samples[0].path)))}.")  # fmt: skip
    dataset = build_dataset(root, samples)
    wrong = [
        fault.note for sample in samples if sample.target for fault in sample.target.faults if fault.kind == "no-class"
    ]
    first = names.get(0)
    if (
        first
        and first not in dataset.class_names
        and any(note.startswith(f"class {max(names) + 1},") for note in wrong)
    ):
        note = f"no object has the class 0, '{first}', and some have {max(names) + 1}: are the classes counted from 1?"
        dataset = replace(dataset, layout_warnings=(*dataset.layout_warnings, note))
    return replace(dataset, listed_classes=tuple(dict.fromkeys(names[number] for number in sorted(names))))


def _label_files(image: Path) -> list[Path]:
    """Where the label file of an image may be."""
    parts = list(image.parts)
    places = [image.with_suffix(".txt")]
    if "images" in parts[:-1]:
        index = len(parts) - 2 - parts[:-1][::-1].index("images")
        places.insert(0, Path(*parts[:index], "labels", *parts[index + 1 :]).with_suffix(".txt"))
    return places


def _describe(names: Mapping[int, str]) -> str:
    return f"{pluralize(len(names), 'name')} of classes, numbered from {min(names)} to {max(names)}"


def _sample(image: Path, file: Path, names: Mapping[int, str], split: str | None, keypoints: bool) -> Sample:
    label_file = next((file for file in _label_files(image) if file.is_file()), None)
    if label_file is None:
        return make_sample(str(image), None, split=split)
    objects, faults = [], []
    lines = [line.replace(",", " ").split() for line in _text(label_file).splitlines()]
    for number, words in enumerate(filter(None, lines), 1):
        try:
            objects.append(_object(words[:5] if keypoints else words, names))
        except LookupError:
            faults.append(Fault(number, "no-class", f"class {words[0][:40]}, but '{file.name}' has {_describe(names)}"))
        except ValueError as error:
            faults.append(Fault(number, "bad-box", str(error)))
    return make_sample(str(image), ImageObjects(tuple(objects), FRACTIONS, tuple(faults)), split=split)


def _object(words: Sequence[str], names: Mapping[int, str]) -> Object:
    """Raises LookupError for a class that has no name, ValueError for anything else."""
    number = read_number(words[0])
    if not number.is_integer():
        raise LookupError(words[0])
    label, values = names[int(number)], [read_number(word) for word in words[1:]]
    if not all(abs(value) <= MAX_FRACTION for value in values):
        raise ValueError(f"{' '.join(words)[:60]}: the coordinates are not fractions of the sides")
    if len(values) in (4, 5):  # the fifth is a score, as predictions have it
        x, y, width, height = read_box(values[:4])
        return Object(label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(words)} values: a box has 5, or 6 with a score, a polygon an odd number from 7 on")
    mask = read_polygons(values)
    assert mask is not None
    return Object(label, mask.box(), mask)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig", errors="replace").replace("\0", " ")
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror}.") from error
