"""Write images with objects in another format: COCO, YOLO, Pascal VOC, or a table."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resnets.atomic_write import check_folder_writable
from resnets.data.datasets.builtin import staged_folder
from resnets.data.datasets.dataset import SPLITS, Dataset
from resnets.data.object_datasets.object_masks import Mask, Polygons, area
from resnets.data.object_datasets.objects import ImageObjects, Object
from resnets.errors import JobError, UserError
from resnets.message_format import format_list, pluralize, suggestion
from resnets.progress import log, progress_bar

FORMATS = ("coco", "yolo", "voc", "csv", "jsonl")


class _Written(NamedTuple):
    """An image in the new dataset, its path relative to the folder."""

    path: Path
    split: str | None
    target: ImageObjects


def convert(dataset: Dataset, format_: str, out: str | Path) -> dict[str, int]:
    """Write `dataset`, as `open_object_dataset.read` gives it, into the folder `out`, with copies of its images.

    Boxes are those of the upright images. Classes are numbered in the order of the list that the data have, those without objects
    too, else in the order of their names. What a format has no place for is left out and logged: crowds in YOLO's, masks in
    Pascal VOC's and .csv, in YOLO's all masks but single polygons.

    Args:
        format_: "coco" (Roboflow's layout), "yolo" (Ultralytics'), "voc", "csv" or "jsonl" (a row for each object).
        out: a folder that is empty or does not exist yet.

    Returns:
        The number of images of each split; "" where there are no splits.

    Raises:
        UserError: an unknown format, a folder that is not empty or cannot be written to.
        JobError: an image cannot be copied, or the disk is full; nothing is left behind.
    """
    check_output(out, format_)
    out = Path(out)
    writers: Mapping[str, Callable[[Path, Sequence[_Written], Sequence[str]], None]] = {
        "coco": _write_coco,
        "yolo": _write_yolo,
        "voc": _write_voc,
        "csv": _write_table,
        "jsonl": _write_json_lines,
    }
    with staged_folder(out) as folder:
        written = _copy_images(dataset, format_, folder)
        writers[format_](folder, written, list(dict.fromkeys((*dataset.listed_classes, *dataset.class_names))))
    _log_left_out(format_, [each for image in written for each in image.target.objects])
    by_split = _by_split(written)
    return {split or "": len(by_split[split]) for split in (None, *SPLITS) if split in by_split}


def check_output(out: str | Path, format_: str) -> None:
    """Refuse a format or a folder that `convert` could not write, before the work; UserError as there."""
    if format_ not in FORMATS:
        raise UserError(
            f"No format '{format_}'.{suggestion(format_, FORMATS)} There are {format_list(FORMATS, quote=False)}."
        )
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' is not an empty folder. Choose a new one; nothing was written.")
    check_folder_writable(out)


def _copy_images(dataset: Dataset, format_: str, folder: Path) -> list[_Written]:
    """The images, each in the folder of its split under its own name, or with a number where that is taken."""
    written = []
    taken: set[Path] = set()
    for sample in progress_bar(dataset.samples, description="copying", total=len(dataset.samples), unit="images"):
        split, name = sample.split, Path(sample.path)
        place = {"coco": Path(split or ""), "voc": Path("JPEGImages")}.get(format_, Path("images", split or ""))
        path, number = place / name.name, 2
        while path.with_suffix("") in taken:  # of two images with one stem, the label files would be one
            path, number = place / f"{name.stem}_{number}{name.suffix}", number + 1
        taken.add(path.with_suffix(""))
        (folder / place).mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(name, folder / path)
        except OSError as error:
            raise JobError(f"Cannot copy '{name}': {error.strerror}. Nothing was written.") from error
        written.append(_Written(path, split, sample.target))
    return written


def _by_split(written: Sequence[_Written]) -> dict[str | None, list[_Written]]:
    images: dict[str | None, list[_Written]] = defaultdict(list)
    for image in written:
        images[image.split].append(image)
    return images


def _write_coco(folder: Path, written: Sequence[_Written], class_names: Sequence[str]) -> None:
    ids = {name: number for number, name in enumerate(class_names, 1)}
    for split, images in _by_split(written).items():
        content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        content["categories"] = [{"id": number, "name": name} for name, number in ids.items()]
        for image_id, image in enumerate(images, 1):
            height, width = _size(image)
            content["images"].append({"id": image_id, "file_name": image.path.name, "width": width, "height": height})
            for each in image.target.objects:
                row = {"id": len(content["annotations"]) + 1, "image_id": image_id, "category_id": ids.get(each.label)}
                if row["category_id"] is None:  # only crowds are of this class
                    row["category_id"] = ids[each.label] = len(ids) + 1
                    content["categories"].append({"id": ids[each.label], "name": each.label})
                content["annotations"].append({**row, **_coco_object(each, height, width)})
        (folder / (split or "") / "_annotations.coco.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


def _coco_object(each: Object, height: int, width: int) -> dict[str, Any]:
    x1, y1, x2, y2 = each.box
    size = each.area
    if size is None:
        size = (x2 - x1) * (y2 - y1) if each.mask is None else area(each.mask, height, width)
    values: dict[str, Any] = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": size, "iscrowd": int(each.crowd)}
    return values if each.mask is None else {**values, "segmentation": _segmentation(each.mask)}


def _segmentation(mask: Mask) -> Any:
    return [list(each) for each in mask.points] if isinstance(mask, Polygons) else mask.to_coco(mask.height, mask.width)


def _write_yolo(folder: Path, written: Sequence[_Written], class_names: Sequence[str]) -> None:
    import yaml

    ids = {name: number for number, name in enumerate(class_names)}
    for image in written:
        height, width = _size(image)
        lines = []
        for each in image.target.objects:
            if not each.crowd:
                values = _yolo_values(each, height, width)
                lines.append(" ".join([str(ids[each.label]), *(f"{value:.17g}" for value in values)]))
        file = (folder / "labels" / image.path.relative_to("images")).with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    places = {split or "train": os.path.join("images", split or "") for split in _by_split(written)}
    content = {**places, "names": dict(enumerate(class_names))}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _yolo_values(each: Object, height: int, width: int) -> list[float]:
    x1, y1, x2, y2 = each.box
    if isinstance(each.mask, Polygons) and len(each.mask.points) == 1:
        return [value / (height if index % 2 else width) for index, value in enumerate(each.mask.points[0])]
    return [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]


def _write_voc(folder: Path, written: Sequence[_Written], class_names: Sequence[str]) -> None:
    (folder / "Annotations").mkdir()
    for image in written:
        root = ET.Element("annotation")
        ET.SubElement(root, "filename").text = image.path.name
        size = ET.SubElement(root, "size")
        for name, value in zip(("width", "height", "depth"), (*_size(image)[::-1], 3), strict=True):
            ET.SubElement(size, name).text = str(value)
        for each in image.target.objects:
            element = ET.SubElement(root, "object")
            ET.SubElement(element, "name").text = each.label
            ET.SubElement(element, "difficult").text = str(int(each.crowd))
            box = ET.SubElement(element, "bndbox")
            corners = (each.box[0] + 1, each.box[1] + 1, each.box[2], each.box[3])  # pixels are counted from 1
            for name, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                ET.SubElement(box, name).text = f"{corner:.17g}"
        ET.indent(root)
        ET.ElementTree(root).write(folder / "Annotations" / f"{image.path.stem}.xml", encoding="utf-8")
    lists = folder / "ImageSets" / "Main"
    for split, images in _by_split(written).items():
        if split is not None:
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{split}.txt").write_text("".join(f"{image.path.stem}\n" for image in images), encoding="utf-8")


def _rows(written: Sequence[_Written]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image in written:
        start = {"path": image.path.as_posix()}
        end = {"split": image.split or "", "width": _size(image)[1], "height": _size(image)[0]}
        if not image.target.objects:
            rows.append({**start, **end})
        for each in image.target.objects:
            corners = dict(zip(("x1", "y1", "x2", "y2"), each.box, strict=True))
            rows.append({**start, "label": each.label, **corners, "crowd": int(each.crowd), **end, "mask": each.mask})
    return rows


def _write_table(folder: Path, written: Sequence[_Written], class_names: Sequence[str]) -> None:
    table = io.StringIO(newline="")
    columns = ("path", "label", "x1", "y1", "x2", "y2", "crowd", "split", "width", "height")
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(written))
    (folder / "annotations.csv").write_text(table.getvalue(), encoding="utf-8", errors="surrogateescape", newline="")


def _write_json_lines(folder: Path, written: Sequence[_Written], class_names: Sequence[str]) -> None:
    with (folder / "annotations.jsonl").open("w", encoding="utf-8", errors="surrogateescape") as file:
        for row in _rows(written):
            mask = row.pop("mask", None)
            file.write(json.dumps(row if mask is None else {**row, "segmentation": _segmentation(mask)}) + "\n")


def _size(image: _Written) -> tuple[int, int]:
    if image.target.size is None:
        raise JobError(
            f"The size of '{image.path.name}' cannot be read: it is not an image, or damaged. Nothing was written."
        )
    return image.target.size


def _log_left_out(format_: str, objects: Sequence[Object]) -> None:
    masked = [each for each in objects if each.mask is not None]
    lost = {
        "coco": 0,
        "jsonl": 0,
        "yolo": sum(not isinstance(each.mask, Polygons) or len(each.mask.points) > 1 for each in masked),
    }.get(format_, len(masked))
    if lost:
        log(f"the masks of {pluralize(lost, 'object')} have no place in this format, and were left out")
    if format_ == "yolo" and (crowds := sum(each.crowd for each in objects)):
        log(f"{pluralize(crowds, 'crowd')} have no place in this format, and were left out")
