"""Read Pascal VOC's XML files: VOC's own layout, or XML files beside their images, as Roboflow and labelImg write them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset, split_from_name
from resnets.data.datasets.walk_folders import list_folder
from resnets.data.object_datasets.find_annotation_files import by_stem
from resnets.data.object_datasets.objects import Fault, ImageObjects, Object, make_sample, read_box, read_class
from resnets.errors import UserError

MAX_BYTES = 1 << 24  # of a file
_IMAGES = ("JPEGImages", "images", "Images", ".")
_ANNOTATIONS = ("Annotations", "annotations", "xmls", ".")


class _Builder(ET.TreeBuilder):
    """Refuses a document type, in which entities could be defined that stand for gigabytes, or for other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which is not read")


def recognizes(path: Path) -> bool:
    """Whether it is a folder of this format; only the first bytes of one file in each place are read."""
    return path.is_dir() and any(True for _ in _find_folders(path))


def read(path: Path) -> Dataset:
    """Read a folder with `Annotations`, `JPEGImages` and `ImageSets/Main`; with XML files beside images or in `Annotations`; or
    with folders train, valid and test of that kind.

    The pixels of VOC are counted from 1, and the last one belongs to the box. A dataset with a box that begins at 0 is taken
    as one that is counted from 0. Objects that are marked as difficult are crowds: not learned, and ignored by an evaluation. An
    image without a file is not annotated; a file without an object says that its image has none.

    Raises:
        UserError: a file is not XML, or has a DOCTYPE.
    """
    samples = [sample for split, place in _find_folders(path) for sample in _read_folder(path, place, split)]
    boxes = [each.box for sample in samples if sample.target for each in sample.target.objects]
    at_zero = sum(any(0 <= value < 1 for value in box[:2]) for box in boxes)
    if not at_zero:
        samples = [replace(sample, target=_from_zero(sample.target)) for sample in samples]
        return build_dataset(path, samples)
    note = (
        f"of {len(boxes):,} boxes {at_zero:,} begin at 0: pixels are taken as counted from 0, and not from 1 as in Pascal VOC. "
        "Parts of a dataset that are opened apart may be taken differently"
    )
    return build_dataset(path, samples, layout_warnings=[note])


def _find_folders(path: Path) -> Iterator[tuple[str | None, Path]]:
    """The folders with XML files, each with its split."""
    if found := next((path / name for name in _ANNOTATIONS if _has_annotations(path / name)), None):
        yield None, found
        return
    for folder in list_folder(path, UnusedFiles()).folders:
        if split := split_from_name(folder.name):
            places = (folder / name for name in _ANNOTATIONS)
            if found := next((place for place in places if _has_annotations(place)), None):
                yield split, found


def _has_annotations(folder: Path) -> bool:
    files = list_folder(folder, UnusedFiles()).others if folder.is_dir() else []
    first = next((file for file in files if file.suffix.lower() == ".xml"), None)
    try:
        with open(first or folder, "rb") as stream:
            return b"<annotation" in stream.read(4096)
    except OSError:
        return False


def _read_folder(root: Path, folder: Path, split: str | None) -> Iterator[Sample]:
    base = folder.parent if folder.name in _ANNOTATIONS else folder
    images = by_stem({base / name: None for name in reversed(_IMAGES) if (base / name).is_dir()})
    listed = image_sets(root / "ImageSets" / "Main") if split is None else {}
    files = {file.stem: file for file in list_folder(folder, UnusedFiles()).others if file.suffix.lower() == ".xml"}
    for stem in sorted({*images, *files}) if not listed else sorted(listed):
        sample_split = listed.get(stem, split)
        if stem not in files:
            yield make_sample(str(images.get(stem, base / f"{stem}.jpg")), None, split=sample_split)
            continue
        tree = _parse(files[stem])
        name = (tree.findtext("filename") or "").replace("\\", "/").rpartition("/")[2].replace("\0", "")
        image = images.get(stem) or images.get(Path(name).stem) or base / (name or f"{stem}.jpg")
        yield make_sample(str(image), _image_objects(tree), split=sample_split)


def image_sets(folder: Path) -> dict[str, str]:
    """The split of each image of the lists train.txt, val.txt and test.txt; trainval.txt serves where train.txt is missing."""
    splits: dict[str, str] = {}
    for name, split in (("test", "test"), ("val", "val"), ("train", "train"), ("trainval", "train")):
        file = folder / f"{name}.txt"
        if file.is_file() and not (name == "trainval" and (folder / "train.txt").is_file()):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if words := line.split():
                    splits.setdefault(words[0], split)
    return splits


def _parse(file: Path) -> ET.Element:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UserError(f"'{file}' has more than {MAX_BYTES:,} bytes.")
        return ET.fromstring(file.read_bytes(), parser=ET.XMLParser(target=_Builder()))
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror}.") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that there is not
        if isinstance(error, UserError):
            raise
        raise UserError(f"'{file}' is not read as XML: {' '.join(str(error).split())[:200]}.") from error


def _image_objects(tree: ET.Element) -> ImageObjects:
    objects, faults = [], []
    for number, each in enumerate(tree.iter("object"), 1):
        box = each.find("bndbox")
        try:
            label = read_class(each.findtext("name"))
        except ValueError as error:
            faults.append(Fault(number, "no-class", str(error)))
            continue
        try:
            values = (
                [] if box is None else [(box.findtext(name) or "").strip() for name in ("xmin", "ymin", "xmax", "ymax")]
            )
            difficult = (each.findtext("difficult") or "").strip() == "1"
            objects.append(Object(label, read_box(values), crowd=difficult))
        except ValueError as error:
            faults.append(Fault(number, "bad-box", str(error)))
    return ImageObjects(tuple(objects), _size(tree), tuple(faults))


def _size(tree: ET.Element) -> tuple[int, int] | None:
    words = [(tree.findtext(f"size/{side}") or "").strip() for side in ("height", "width")]
    if all(word.isdecimal() and word.isascii() and len(word) < 9 and int(word) for word in words):
        return int(words[0]), int(words[1])
    return None


def _from_zero(target: ImageObjects | None) -> ImageObjects | None:
    """The boxes in continuous coordinates, from pixels that are counted from 1, both ends included."""
    if target is None:
        return None
    boxes = [(x1 - 1, y1 - 1, x2, y2) for x1, y1, x2, y2 in (each.box for each in target.objects)]
    return replace(
        target, objects=tuple(replace(each, box=box) for each, box in zip(target.objects, boxes, strict=True))
    )
