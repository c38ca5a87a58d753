"""Read class folders: the folder that an image is in is its class."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.datasets import generate_shapes
from resnets.data.datasets.dataset import Dataset, Sample, UnusedFiles, build_dataset, split_from_name
from resnets.data.datasets.walk_folders import FolderListing, list_folder, refuse_inaccessible, walk_images
from resnets.data.image.formats import HEIC_ADVICE, HEIC_SUFFIXES, SUFFIXES
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize

IMAGE_FOLDERS = ("images", "image", "imgs", "img")  # names of a folder of images beside one of masks
# File managers' default names of new folders, in some languages.
_UNNAMED = re.compile(
    r"(new folder|untitled folder|neuer ordner|nouveau dossier|nueva carpeta|nuova cartella|新建文件夹)( ?\(?\d+\)?)?",
    re.IGNORECASE,
)


@dataclass
class _Layout:
    """Which folders are classes, as (split or None, class folder), and what the folders could mean as well."""

    classes: list[tuple[str | None, Path]] = field(default_factory=list)
    splits_in_classes: bool = False  # CLASS/SPLIT/**
    warnings: list[str] = field(default_factory=list)


def read_folder(root: Path) -> Dataset:
    """Read `root/CLASS/**`, `root/SPLIT/CLASS/**` or `root/CLASS/SPLIT/**`, where a SPLIT is a folder named for train, val or
    test in one of many ways (`Training`, `test_set`, `dev`, `valid`).

    An image in a folder within a class folder belongs to that class. Hidden entries are skipped, and hidden folders
    beside the class folders are in `Dataset.unused` if they hold images; so are files that are not images, folders that are
    not classes, and folders that cannot be listed. Links are followed, and each folder is entered once per class.

    Raises:
        UserError: there is no class folder with an image in it.
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    unused = UnusedFiles()
    top = list_folder(root, unused)
    if str(root) in unused.inaccessible:
        refuse_inaccessible(unused)
    if not top.folders:
        raise UserError(_no_classes_message(root, top))
    _add_unused(unused, top)
    layout = _find_layout(root, top, unused)
    samples: list[Sample] = []
    names: list[str] = []
    for split, folder in layout.classes:
        label = _class_name(folder)
        names.append(label)
        for path in walk_images(folder, unused):
            # A folder within a class, such as a patient or a video, can serve as the group: `--group-by folder`.
            inner = path.parent.relative_to(folder)
            columns = {"folder": inner.as_posix()} if inner.parts else {}
            if layout.splits_in_classes:
                first, _, rest = columns.get("folder", "").partition("/")
                split, columns = split_from_name(first), {"folder": rest} if rest else {}
            samples.append(Sample(path=str(path), labels=(label,), split=split, columns=columns))
    if not samples:
        refuse_inaccessible(unused)
        raise UserError(_no_images_message(root, names, unused.files))
    annotations = generate_shapes.annotation_paths(root)  # of no use to classification
    unused.files = [path for path in unused.files if path not in annotations]
    unused.folders = [path for path in unused.folders if path not in annotations]
    warnings = [*layout.warnings, *_unnamed_warnings(names)]
    return build_dataset(root, samples, class_folders=names, unused=unused, layout_warnings=warnings)


def _find_layout(root: Path, top: FolderListing, unused: UnusedFiles) -> _Layout:
    # Folders that cannot be listed are added to `unused` when they are walked.
    listings = {folder: list_folder(folder, UnusedFiles()) for folder in top.folders}
    if splits := _find_splits(root, listings, unused):
        layout = _Layout()
        for split, folder in splits.items():
            listing = list_folder(folder, unused)
            _add_unused(unused, listing)
            layout.classes += [(split, class_folder) for class_folder in listing.folders]
        return layout
    layout = _Layout([(None, folder) for folder in top.folders], warnings=_layout_warnings(listings))
    not_empty = {folder: listing for folder, listing in listings.items() if listing.images or listing.folders}
    with_splits = [folder for folder, listing in not_empty.items() if _has_only_splits(listing)]
    if with_splits and len(with_splits) == len(not_empty) > 1:
        layout.splits_in_classes = True
    elif with_splits:
        names = format_list([folder.name for folder in listings[with_splits[0]].folders], 4)
        if len(with_splits) == 1 and not any(listing.images for listing in listings.values()):
            raise UserError(f"'{with_splits[0]}' holds the splits {names}: give that folder.")
        example = f"'{with_splits[0]}' holds the folders {names}"
        layout.warnings.append(f"{example}, which are taken as one class: other class folders have no such splits")
    return layout


def _add_unused(unused: UnusedFiles, listing: FolderListing) -> None:
    """Add what is beside class folders: files, and hidden folders that could be taken for classes."""
    unused.files += map(str, (*listing.images, *listing.others))
    unused.folders += [str(folder) for folder in listing.hidden_folders if _holds_images(folder)]


def _holds_images(folder: Path) -> bool:
    """Whether an image is directly in the folder, by the suffix of a name that is not hidden."""
    try:
        names = call_with_timeout(os.listdir, folder)
    except OSError:
        return False
    return any(Path(name).suffix.lower() in SUFFIXES for name in names if not name.startswith("."))


def _find_splits(root: Path, listings: Mapping[Path, FolderListing], unused: UnusedFiles) -> dict[str, Path]:
    """The folder of each split if `root` is divided into splits, else nothing; what is beside them is not used.

    A class can be called 'train' or 'test', too: if only one folder has such a name, and another one holds images itself.
    """
    named = {folder: split for folder in listings if (split := split_from_name(folder.name))}
    if not named:
        return {}
    others = [folder for folder in listings if folder not in named]
    with_folders = {folder: split for folder, split in named.items() if listings[folder].folders}
    flat = [folder for folder in named if listings[folder].images and not listings[folder].folders]
    if any(listings[folder].images for folder in others) and len(set(with_folders.values())) < 2:
        return {}
    unlabeled = [folder for folder in flat if named[folder] == "test" and "train" in with_folders.values()]
    if wrong := [folder for folder in flat if folder not in unlabeled]:
        raise UserError(f"'{wrong[0]}' holds images but no class folders. {_layout_advice(wrong[0])}")
    splits: dict[str, Path] = {}
    for folder, split in named.items():
        if folder in unlabeled:
            continue
        if split in splits:
            both = f"'{splits[split].name}' and '{folder.name}'"
            raise UserError(f"'{root}' has both {both}, which mean '{split}'. Keep one folder for '{split}'.")
        listing = listings[folder]
        wraps = len(listing.folders) == 1 and not listing.images and split_from_name(listing.folders[0].name) == split
        splits[split] = listing.folders[0] if wraps else folder  # `train/train`, as in some archives, is `train`
    unused.folders += [str(folder) for folder in (*others, *unlabeled)]
    return splits if with_folders else {}


def _has_only_splits(listing: FolderListing) -> bool:
    splits = {split_from_name(folder.name) for folder in listing.folders}
    return not listing.images and "train" in splits and len(splits) > 1 and None not in splits


def _layout_warnings(listings: Mapping[Path, FolderListing]) -> list[str]:
    """Where the top folders, taken as classes, may be splits under unknown names."""
    without_images = {folder: listing for folder, listing in listings.items() if not listing.images}
    inner = {folder: {child.name for child in each.folders} for folder, each in without_images.items()}
    common = set.intersection(*inner.values()) if len(inner) == len(listings) > 1 else set()
    warnings = []
    if len(common) > 1 and not all(split_from_name(name) for name in common):
        names = format_list([folder.name for folder in inner], 4)
        warnings.append(
            f"{names} all hold {format_list(sorted(common), 4)} and are taken as classes; if they are splits, name them "
            "train, val and test"
        )
    for folder, listing in listings.items():
        if split_from_name(folder.name) == "train" and len(listing.folders) > 1 and not listing.images:
            others = format_list([other.name for other in listings if other != folder], 3)
            advice = "if it is the training split, move those away"
            warnings.append(f"'{folder.name}' is taken as a class beside {others}; {advice}")
    return warnings + _mask_warnings(listings)


def _mask_warnings(listings: Mapping[Path, FolderListing]) -> list[str]:
    """Where one of the folders, taken as classes, may have the masks of the images in another, under an unknown name."""
    stems = {folder: {image.stem for image in listing.images} for folder, listing in listings.items()}
    images = [folder for folder in listings if folder.name.lower() in IMAGE_FOLDERS]
    return [
        f"'{folder.name}' and '{other.name}' are taken as classes, although their files have the same names; if "
        f"'{other.name}' has the masks of the images, name it masks"
        for folder in images
        for other in listings
        if other not in images and stems[folder] & stems[other]
    ]


def _unnamed_warnings(names: list[str]) -> Iterator[str]:
    if unnamed := sorted({name for name in names if _UNNAMED.fullmatch(name)}):
        which = "is taken as a class" if len(unnamed) == 1 else "are taken as classes"
        yield f"{format_list(unnamed, 4)} {which}, although it has the default name of a new folder; rename it, or move it away"


def _class_name(folder: Path) -> str:
    try:
        folder.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"The folder name {os.fsencode(folder)!r} is not text in UTF-8. Rename it.") from error
    return folder.name


def _no_classes_message(root: Path, top: FolderListing) -> str:
    where = f"'{root}' ({root.absolute()})"
    if top.images:
        return f"{where} holds {pluralize(len(top.images), 'image')} but no class folders. {_layout_advice(root)}"
    if top.others:
        return f"{where} holds no images and no folders, only {format_list([path.name for path in top.others], 5)}."
    hidden = f" Its hidden folders, {format_list([path.name for path in top.hidden_folders], 3)}, are not read."
    return f"{where} is empty. Expected {root}/CLASS/image.{hidden if top.hidden_folders else ''}"


def _layout_advice(folder: Path) -> str:
    return f"Lay them out as {folder}/CLASS/image, or list them in a .csv with the columns path and label."


def _no_images_message(root: Path, names: list[str], files: list[str]) -> str:
    suffixes = Counter(Path(path).suffix.lower() or "no suffix" for path in files)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5))
    advice = f" {HEIC_ADVICE}." if HEIC_SUFFIXES & set(suffixes) else ""
    others = f" The other files there ({kinds}) are not read as images.{advice}" if kinds else ""
    folders = f"the folders {format_list(sorted(set(names)))}" if names else "its folders"
    return f"'{root}' ({root.absolute()}) has no image in {folders}.{others}"
