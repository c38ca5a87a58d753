"""List the images in folders, found by suffix or by content, and describe the files that are not used."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.datasets.dataset import UnusedFiles
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


def _list_folder(folder: Path) -> FolderListing:
    listing = FolderListing()
    with os.scandir(folder) as iterator:
        entries = sorted(iterator, key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            if _is_dir(entry):
                listing.hidden_folders.append(path)
        elif entry.name in SYSTEM_FILES:
            continue
        elif _is_dir(entry):
            listing.folders.append(path)
        elif path.suffix.lower() in SUFFIXES or (not path.suffix and is_image(path)):
            listing.images.append(path)  # a dangling link too: the check of the images names it
        else:
            listing.others.append(path)
    return listing


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
        listing = list_folder(current, unused)
        yield from listing.images
        unused.files += map(str, listing.others)
        if current.suffix.lower() in SUFFIXES and not (listing.images or listing.folders):
            unused.folders.append(str(current))  # a folder that is named like an image
        stack += reversed(listing.folders)


def describe_unused(unused: UnusedFiles, unreadable: int = 0) -> str:
    """`not used: 12 .heic, the folder 'dev'`; empty if everything is used.

    Args:
        unreadable: the number of images that were left out since they cannot be read.
    """
    known = (suffix if _SUFFIX.fullmatch(suffix := Path(path).suffix.lower()) else "" for path in unused.files)
    suffixes = Counter(suffix or "files without a known suffix" for suffix in known)
    shown = suffixes.most_common(SHOWN_SUFFIXES)
    items = [f"{count:,} {suffix}" for suffix, count in shown]
    if rest := len(unused.files) - sum(count for _, count in shown):
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
