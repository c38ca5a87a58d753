"""Folders as data: the folder that an image lies in is its class."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.datasets import shapes
from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset, split_from_name
from resnets.data.datasets.walk_folders import FolderListing, list_folder, refuse_inaccessible, walk_images
from resnets.data.image.formats import HEIC_ADVICE, HEIC_SUFFIXES
from resnets.errors import UserError, format_list, pluralize


@dataclass
class _Layout:
    """Which folders are classes: (split or None, class folder), and what the folders could mean as well."""

    classes: list[tuple[str | None, Path]] = field(default_factory=list)
    inner_splits: bool = False  # CLASS/SPLIT/**
    doubts: list[str] = field(default_factory=list)


def read_folder(root: Path) -> Dataset:
    """Read `root/CLASS/**`, `root/SPLIT/CLASS/**` or `root/CLASS/SPLIT/**`, where a SPLIT is a folder named for train, val or
    test in one of many ways (`Training`, `test_set`, `dev`, `valid`).

    An image in a folder within a class folder belongs to that class. Hidden entries are passed over; files that are no
    images, folders that are no classes, and folders that cannot be looked into are in `Source.unused`. Links are followed,
    and each folder is entered once per class, so that loops end.

    Raises:
        UserError: there is no class folder with an image in it.
    """
    unused = UnusedFiles()
    top = list_folder(root, unused)
    if str(root) in unused.inaccessible:
        refuse_inaccessible(unused)
    if not top.folders:
        raise UserError(_without_classes(root, top))
    unused.files += map(str, (*top.images, *top.others))
    layout = _layout_of(root, top, unused)
    samples: list[Sample] = []
    names: list[str] = []
    for part, place in layout.classes:
        label = _class_name(place)
        names.append(label)
        for path in walk_images(place, unused):
            columns = _columns(path, place)
            if layout.inner_splits:
                first, _, rest = columns.get("folder", "").partition("/")
                part, columns = split_from_name(first), {"folder": rest} if rest else {}
            samples.append(Sample(path=str(path), label=label, split=part, columns=columns))
    if not samples:
        refuse_inaccessible(unused)
        raise UserError(_without_images(root, names, unused.files))
    ours = shapes.beside(root)  # of no use to this task
    unused.files = [each for each in unused.files if each not in ours]
    unused.folders = [each for each in unused.folders if each not in ours]
    return build_dataset(root, samples, class_folders=names, unused=unused, layout_warnings=layout.doubts)


def _layout_of(root: Path, top: FolderListing, unused: UnusedFiles) -> _Layout:
    inside = {
        folder: list_folder(folder, UnusedFiles()) for folder in top.folders
    }  # closed ones are noted when they are walked
    if splits := _splits(root, inside, unused):
        layout = _Layout()
        for part, folder in splits.items():
            found = list_folder(folder, unused)
            unused.files += map(str, (*found.images, *found.others))
            layout.classes += [(part, place) for place in found.folders]
        return layout
    layout = _Layout([(None, folder) for folder in top.folders], doubts=_doubts(inside))
    full = {folder: found for folder, found in inside.items() if found.images or found.folders}
    split_inside = [folder for folder, found in full.items() if _only_splits(found)]
    if split_inside and len(split_inside) == len(full) > 1:
        layout.inner_splits = True
    elif len(split_inside) == 1 and not any(found.images for found in inside.values()):
        raise UserError(f"'{split_inside[0]}' holds the splits {_names(inside[split_inside[0]])}: give that folder.")
    elif split_inside:
        example = f"'{split_inside[0]}' holds the folders {_names(inside[split_inside[0]])}"
        layout.doubts.append(f"{example}, which are taken as one class: other class folders have no such splits")
    return layout


def _splits(root: Path, inside: dict[Path, FolderListing], unused: UnusedFiles) -> dict[str, Path]:
    """The folder of each split if `root` is divided into splits, else nothing; what is beside them is not used.

    A class can be called 'train' or 'test', too: where only one folder has such a name, and another one holds images itself.
    """
    named = {folder: part for folder in inside if (part := split_from_name(folder.name))}
    if not named:
        return {}
    others = [folder for folder in inside if folder not in named]
    deep = {folder: part for folder, part in named.items() if inside[folder].folders}
    flat = [folder for folder in named if inside[folder].images and not inside[folder].folders]
    if any(inside[folder].images for folder in others) and len(set(deep.values())) < 2:
        return {}
    unlabeled = [folder for folder in flat if named[folder] == "test" and "train" in deep.values()]
    if wrong := [folder for folder in flat if folder not in unlabeled]:
        raise UserError(f"'{wrong[0]}' holds images but no class folders. {_layout_advice(wrong[0])}")
    splits: dict[str, Path] = {}
    for folder, part in named.items():
        if folder in unlabeled:
            continue
        if part in splits:
            both = f"'{splits[part].name}' and '{folder.name}'"
            raise UserError(f"'{root}' has both {both}, which mean '{part}'. Keep one folder for '{part}'.")
        splits[part] = _unwrapped(folder, inside[folder], part)
    unused.folders += [str(folder) for folder in (*others, *unlabeled)]
    return splits if deep else {}


def _unwrapped(folder: Path, found: FolderListing, part: str) -> Path:
    """`train/train`, as some archives are packed, is `train`."""
    if len(found.folders) == 1 and not found.images and split_from_name(found.folders[0].name) == part:
        return found.folders[0]
    return folder


def _only_splits(found: FolderListing) -> bool:
    parts = {split_from_name(folder.name) for folder in found.folders}
    return not found.images and "train" in parts and len(parts) > 1 and None not in parts


def _doubts(inside: dict[Path, FolderListing]) -> list[str]:
    """Where the top folders, taken as classes, may be splits under unknown names."""
    deep = {folder: {each.name for each in found.folders} for folder, found in inside.items() if not found.images}
    same = set.intersection(*deep.values()) if len(deep) == len(inside) > 1 else set()
    doubts = []
    if len(same) > 1 and not all(split_from_name(name) for name in same):
        doubts.append(
            f"{format_list([each.name for each in deep], 4)} all hold {format_list(sorted(same), 4)} and are taken as "
            "classes; if they are splits, name them train, val and test"
        )
    for folder, found in inside.items():
        if split_from_name(folder.name) == "train" and len(found.folders) > 1 and not found.images:
            beside = format_list([each.name for each in inside if each != folder], 3)
            doubts.append(
                f"'{folder.name}' is taken as a class beside {beside}; if it is the training split, move those away"
            )
    return doubts


def _names(found: FolderListing) -> str:
    return format_list([folder.name for folder in found.folders], 4)


def _class_name(folder: Path) -> str:
    try:
        folder.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"The folder name {os.fsencode(folder)!r} is not text in UTF-8. Rename it.") from error
    return folder.name


def _columns(path: Path, place: Path) -> dict[str, str]:
    """A folder within a class, such as a patient or a video, can serve as the group: `--group-by folder`."""
    inner = path.parent.relative_to(place)
    return {"folder": inner.as_posix()} if inner.parts else {}


def _without_classes(root: Path, top: FolderListing) -> str:
    where = f"'{root}' ({root.absolute()})"
    if top.images:
        return f"{where} holds {pluralize(len(top.images), 'image')} but no class folders. {_layout_advice(root)}"
    if top.others:
        return f"{where} holds no images and no folders, only {format_list([path.name for path in top.others], 5)}."
    return f"{where} is empty. Expected {root}/CLASS/image."


def _layout_advice(folder: Path) -> str:
    return f"Lay them out as {folder}/CLASS/image, or list them in a .csv with the columns path and label."


def _without_images(root: Path, names: list[str], files: list[str]) -> str:
    suffixes = Counter(Path(path).suffix.lower() or "no suffix" for path in files)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5))
    advice = f" {HEIC_ADVICE}." if HEIC_SUFFIXES & set(suffixes) else ""
    found = f" The other files there ({kinds}) are not read as images.{advice}" if kinds else ""
    folders = f"the folders {format_list(sorted(set(names)))}" if names else "its folders"
    return f"'{root}' ({root.absolute()}) has no image in {folders}.{found}"
