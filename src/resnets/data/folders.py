"""Folders as data: the folder that a picture lies in is its class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.decode import SUFFIXES
from resnets.data.samples import PART_WORDS, Sample, Source, assemble, counted, listed
from resnets.errors import UserError

# Left behind by macOS' archives, Synology's indexer and Windows; never classes.
LITTER = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})


@dataclass
class _Listing:
    """What lies directly in a folder, hidden entries and litter left out, each list sorted by name."""

    folders: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def read_folder(root: Path) -> Source:
    """Read `root/CLASS/**` or `root/{train,val|valid|validation,test}/CLASS/**`.

    A picture in a folder within a class folder belongs to that class. Hidden entries are passed over; files whose
    suffix is not a picture's are passed over too and named in `Source.ignored`. Links are followed, and each folder is
    entered once per class, so that loops end.

    Raises:
        UserError: there is no class folder with a picture in it.
    """
    top = _listing(root)
    if not top.folders:
        raise UserError(_without_classes(root, top))
    parts = _parts(root, top)
    ignored = [*map(str, top.pictures), *map(str, top.others)]
    if parts:
        ignored += [str(folder) for folder in top.folders if folder not in parts.values()]
    samples: list[Sample] = []
    names: list[str] = []
    for part, folder in parts.items() or [(None, root)]:
        inside = top if folder == root else _listing(folder)
        if folder != root:
            ignored += [str(path) for path in (*inside.pictures, *inside.others)]
        for place in inside.folders:
            label = _class_name(place)
            names.append(label)
            for path in _walk(place, ignored):
                samples.append(Sample(path=str(path), label=label, split=part, columns=_columns(path, place)))
    if not samples:
        raise UserError(_without_pictures(root, names, ignored))
    return assemble(root, samples, folders=names, ignored=ignored)


def _parts(root: Path, top: _Listing) -> dict[str | None, Path]:
    """The folders of the parts if this is a split folder, else nothing.

    A class can be called 'train' or 'test'. It is one when it holds pictures itself and another class stands beside it.
    """
    words = [folder for folder in top.folders if folder.name.lower() in PART_WORDS]
    if not words or any(_listing(folder).pictures for folder in top.folders if folder not in words):
        return {}
    flat = [folder for folder in words if _listing(folder).pictures and not _listing(folder).folders]
    if flat:
        raise UserError(f"'{flat[0]}' holds pictures but no class folders. {_layout(flat[0])}")
    parts: dict[str | None, Path] = {}
    for folder in words:
        part = PART_WORDS[folder.name.lower()]
        if part in parts:
            both = f"'{parts[part].name}' and '{folder.name}'"
            raise UserError(f"'{root}' has both {both}. Keep one folder for '{part}'.")
        parts[part] = folder
    return parts if any(_listing(folder).folders for folder in words) else {}


def _listing(folder: Path) -> _Listing:
    listing = _Listing()
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"Cannot look into '{folder}': {error.strerror}.") from error
    for entry in found:
        if entry.name.startswith(".") or entry.name in LITTER:
            continue
        path = folder / entry.name
        if entry.is_dir():
            listing.folders.append(path)
        elif path.suffix.lower() in SUFFIXES:
            listing.pictures.append(path)  # a link to nowhere too: whoever checks the pictures will name it
        else:
            listing.others.append(path)
    return listing


def _walk(folder: Path, ignored: list[str]) -> Iterator[Path]:
    """All pictures at any depth; each real folder once."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        listing = _listing(place)
        yield from listing.pictures
        ignored += map(str, listing.others)
        waiting += reversed(listing.folders)


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


def _without_classes(root: Path, top: _Listing) -> str:
    where = f"'{root}' ({root.absolute()})"
    if top.pictures:
        return f"{where} holds {counted(len(top.pictures), 'picture')} but no class folders. {_layout(root)}"
    if top.others:
        return f"{where} holds no pictures and no folders, only {listed([path.name for path in top.others], 5)}."
    return f"{where} is empty. Expected {root}/CLASS/picture."


def _layout(folder: Path) -> str:
    return f"Lay them out as {folder}/CLASS/picture, or list them in a .csv with the columns path and label."


def _without_pictures(root: Path, names: list[str], ignored: list[str]) -> str:
    suffixes = Counter(Path(path).suffix.lower() or "no suffix" for path in ignored if not os.path.isdir(path))
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5))
    found = f" The other files there ({kinds}) are not read as pictures." if kinds else ""
    folders = f"the folders {listed(sorted(set(names)))}" if names else "its folders"
    return f"'{root}' ({root.absolute()}) has no picture in {folders}.{found}"
