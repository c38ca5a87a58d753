"""List the images in folders, found by suffix or by content, and describe the files that are not used."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.datasets.sort_on_disk import sort_on_disk
from resnets.data.image.formats import HEIC_ADVICE, HEIC_SUFFIXES, SUFFIXES, is_image
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.errors import UserError
from resnets.message_format import format_list, pluralize

# Left behind by archives of macOS, by Synology's indexer and by Windows.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
SYSTEM_FILES = frozenset({"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"})
SHOWN_FOLDERS, SHOWN_SUFFIXES = 5, 6
_SUFFIX = re.compile(r"\.\w{1,8}")


@dataclass
class FolderListing:
    """The entries of a folder, each list sorted by name. Hidden and system files are left out."""

    folders: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    hidden_folders: list[Path] = field(default_factory=list)  # and system folders


def list_folder(folder: Path, unused: UnusedFiles) -> FolderListing:
    """The entries of a folder; empty, and added to `unused.inaccessible`, if it cannot be listed.

    Raises:
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    try:
        return call_with_timeout(_list_folder, folder)
    except OSError as error:
        unused.inaccessible[str(folder)] = error.strerror or str(error)
        return FolderListing()


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden and system folders; none if it cannot be listed.

    Raises:
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    try:
        return call_with_timeout(_list_folders, folder)
    except OSError:
        return []


def _list_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as iterator:
        names = [entry.name for entry in iterator if not _is_hidden(entry.name) and _is_dir(entry)]
    return [folder / name for name in sorted(names)]


def _list_folder(folder: Path) -> FolderListing:
    listing = FolderListing()
    for name, kind in _sorted_entries(folder):
        getattr(listing, kind).append(folder / name)
    return listing


def _sorted_entries(folder: Path) -> Iterator[list[str]]:
    """The name of each entry, sorted, and the list of `FolderListing` that it belongs to. A folder may have millions."""
    with os.scandir(folder) as iterator:
        kinds = ((entry.name, _kind(entry, folder)) for entry in iterator)
        # A zero byte, which no name has, sorts before all that a longer name may have there.
        texts = sort_on_disk(f"{name}\0{kind}" for name, kind in kinds if kind)
    return (text.split("\0") for text in texts)


def _kind(entry: os.DirEntry[str], folder: Path) -> str | None:
    if _is_hidden(entry.name):
        return "hidden_folders" if _is_dir(entry) else None
    if entry.name in SYSTEM_FILES:
        return None
    if _is_dir(entry):
        return "folders"
    path = folder / entry.name
    if path.suffix.lower() in SUFFIXES or (not path.suffix and is_image(path)):
        return "images"  # a dangling link too: the check of the images names it
    return "others"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def walk_images(folder: Path, unused: UnusedFiles) -> Iterator[Path]:
    """All images below a folder, in order. Links are followed, and each real folder is entered once, so that loops end.

    Raises:
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    entered: set[tuple[int, int]] = set()
    stack = [folder]
    while stack:
        current = stack.pop()
        try:
            status = call_with_timeout(os.stat, current)
        except OSError as error:
            unused.inaccessible[str(current)] = error.strerror or str(error)
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        try:
            entries = call_with_timeout(_sorted_entries, current)
        except OSError as error:
            unused.inaccessible[str(current)] = error.strerror or str(error)
            continue
        found, folders = False, list[Path]()
        for name, kind in entries:
            if kind == "images":
                found = True
                yield current / name
            elif kind == "folders":
                folders.append(current / name)
            elif kind == "others":
                unused.files.append(str(current / name))
        if current.suffix.lower() in SUFFIXES and not (found or folders):
            unused.folders.append(str(current))  # a folder that is named like an image
        stack += reversed(folders)


def count_files(unused: UnusedFiles) -> None:
    """Keep the numbers of the other files by suffix in place of their names, so that memory does not grow with them."""
    unused.suffixes.update(map(_suffix, unused.files))
    unused.files.clear()


def _suffix(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else "files without a known suffix"


def describe_unused(unused: UnusedFiles, unreadable: int = 0) -> str:
    """`not used: 12 .heic, the folder 'dev'`; empty if everything is used.

    Args:
        unreadable: the number of images that were left out since they cannot be read.
    """
    suffixes = unused.suffixes + Counter(map(_suffix, unused.files))
    shown = suffixes.most_common(SHOWN_SUFFIXES)
    items = [f"{count:,} {suffix}" for suffix, count in shown]
    if rest := suffixes.total() - sum(count for _, count in shown):
        items.append(f"{rest:,} other files")
    for what, folders in (("folder", unused.folders), ("inaccessible folder", list(unused.inaccessible))):
        if folders:
            items.append(f"the {what}{'s' * (len(folders) > 1)} {format_list(folders, SHOWN_FOLDERS)}")
    if unreadable:
        items.append(f"{pluralize(unreadable, 'image')} that cannot be read")
    if not items:
        return ""
    advice = f" ({HEIC_ADVICE})" if HEIC_SUFFIXES & set(suffixes) else ""
    return f"not used: {', '.join(items)}{advice}"


def refuse_inaccessible(unused: UnusedFiles) -> None:
    """Raises UserError if folders could not be listed."""
    if unused.inaccessible:
        reasons = [f"'{path}': {reason}" for path, reason in unused.inaccessible.items()]
        folders = format_list(reasons, SHOWN_FOLDERS, quote=False, separator="; ")
        raise UserError(f"Cannot read {folders}. Change the permissions, or move the folder away.")
