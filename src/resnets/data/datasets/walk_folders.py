"""What lies in folders: images, found by suffix or by content, and everything else, which is counted and said."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.datasets.dataset import UnusedFiles
from resnets.data.image.formats import HEIC_ADVICE, HEIC_SUFFIXES, SUFFIXES, is_image
from resnets.errors import UserError, format_list, pluralize

# Left behind by macOS' archives, Synology's indexer and Windows; never classes, never missed.
LITTER = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
LITTER_FILES = frozenset({"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"})
SHOWN_FOLDERS, SHOWN_SUFFIXES = 5, 6
_SUFFIX = re.compile(r"\.\w{1,8}")


@dataclass
class FolderListing:
    """What lies directly in a folder, hidden entries and litter left out, each list sorted by name."""

    folders: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def list_folder(folder: Path, unused: UnusedFiles) -> FolderListing:
    """Of the folder itself; empty, and noted in `unused.closed`, where it cannot be looked into."""
    made = FolderListing()
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        unused.inaccessible[str(folder)] = error.strerror or str(error)
        return made
    for entry in found:
        if entry.name.startswith(".") or entry.name in LITTER or entry.name in LITTER_FILES:
            continue
        path = folder / entry.name
        if entry.is_dir():
            made.folders.append(path)
        elif path.suffix.lower() in SUFFIXES or (not path.suffix and entry.is_file() and is_image(path)):
            made.images.append(path)  # a link to nowhere too: whoever checks the images will name it
        else:
            made.others.append(path)
    return made


def walk_images(folder: Path, unused: UnusedFiles) -> Iterator[Path]:
    """All images at any depth, in order; links are followed, and each real folder is entered once, so that loops end."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            status = place.stat()
        except OSError as error:
            unused.inaccessible[str(place)] = error.strerror or str(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        found = list_folder(place, unused)
        yield from found.images
        unused.files += map(str, found.others)
        if place.suffix.lower() in SUFFIXES and not (found.images or found.folders):
            unused.folders.append(str(place))  # a folder that is called like an image
        waiting += reversed(found.folders)


def describe_unused(unused: UnusedFiles, unreadable: int = 0) -> str:
    """`not used: 12 .heic, the folder 'dev'`; empty where everything is used."""
    suffixes = Counter(_kind(path) for path in unused.files)
    shown = suffixes.most_common(SHOWN_SUFFIXES)
    said = [f"{count:,} {suffix}" for suffix, count in shown]
    if left := len(unused.files) - sum(count for _, count in shown):
        said.append(f"{left:,} other files")
    for what, folders in (("folder", unused.folders), ("closed folder", list(unused.inaccessible))):
        if folders:
            said.append(f"the {what}{'s' * (len(folders) > 1)} {format_list(folders, SHOWN_FOLDERS)}")
    if unreadable:
        said.append(f"{pluralize(unreadable, 'image')} that cannot be read")
    if not said:
        return ""
    advice = f" ({HEIC_ADVICE})" if HEIC_SUFFIXES & set(suffixes) else ""
    return f"not used: {', '.join(said)}{advice}"


def refuse_inaccessible(unused: UnusedFiles) -> None:
    """Raises UserError where folders could not be looked into."""
    if unused.inaccessible:
        first = [f"'{path}': {reason}" for path, reason in list(unused.inaccessible.items())[:SHOWN_FOLDERS]]
        more = (
            f"; and {len(unused.inaccessible) - SHOWN_FOLDERS:,} more"
            if len(unused.inaccessible) > SHOWN_FOLDERS
            else ""
        )
        raise UserError(f"Cannot look into {'; '.join(first)}{more}. Change the permissions, or move the folder away.")


def _kind(path: str) -> str:
    suffix = Path(path).suffix.lower()
    return suffix if _SUFFIX.fullmatch(suffix) else "files without a known suffix"
