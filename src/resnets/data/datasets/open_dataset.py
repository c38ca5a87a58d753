"""Where labeled images come from: folders, lists, and the sets that are built in."""

from __future__ import annotations

import re
from pathlib import Path

from resnets.data.datasets import builtin, read_shards, walk_folders
from resnets.data.datasets.class_folders import read_folder
from resnets.data.datasets.dataset import Dataset, UnusedFiles
from resnets.data.datasets.manifests import MANIFESTS, read_manifest
from resnets.data.image.formats import ALL_SUFFIXES
from resnets.errors import UserError, suggestion
from resnets.progress import log

SHOWN_NEIGHBORS = 12
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # https://, s3://, gs://, file://


def read(location: str | Path, *, closed: str = "error") -> Dataset:
    """Read a dataset, and say in a line what in it is not used.

    Args:
        closed: "error", or "skip" for folders that cannot be looked into.
        location: a folder `DIR/CLASS/*` or `DIR/{train,val,test}/CLASS/*`; a folder of shards that `resnets data shard`
            wrote; a list `.csv` or `.jsonl` with the columns path and label, and optionally split, group and weight; or
            `digits` or `shapes`, which are built in. A folder or file of such a name goes before the built-in set.

    Nothing is decoded here: whether a file can be read is the question of `check`.

    Raises:
        UserError: there is no such place, a folder cannot be looked into, or it is not laid out in one of these ways; the
            message says what is there.
    """
    dataset = _read(location)
    if closed == "error":
        walk_folders.refuse_inaccessible(dataset.unused)
    if line := walk_folders.describe_unused(dataset.unused):
        log(line)
    for doubt in dataset.layout_warnings:
        log(f"warning: {doubt}")
    return dataset


def _read(location: str | Path) -> Dataset:
    if str(location) == "-" or _ADDRESS.match(str(location)):
        raise UserError(_elsewhere(str(location)))
    path = Path(location).expanduser()
    if (path / read_shards.MANIFEST).is_file():
        return read_shards.read(path)
    if path.is_dir() and read_shards.is_unfinished(path):
        raise UserError(
            f"'{path}' holds shards, but no {read_shards.MANIFEST}: their writing did not end. Write them again."
        )
    if path.is_dir():
        return read_folder(path)
    if path.is_file():
        if path.suffix.lower() in MANIFESTS:
            return read_manifest(path)
        raise UserError(_no_data(path))
    if str(location) in builtin.NAMES:
        return read_folder(builtin.cached(str(location)))
    raise UserError(_nothing_there(path))


def is_builtin(location: str | Path) -> bool:
    """Whether `read` would take `location` as the name of a built-in set, since nothing stands there."""
    return str(location) in builtin.NAMES and not Path(location).expanduser().exists()


def contains_images(location: str | Path) -> bool:
    """Whether there is a list, or a folder with an image at any depth."""
    path = Path(location).expanduser()
    if path.is_file():
        return path.suffix.lower() in MANIFESTS
    return path.is_dir() and any(True for _ in walk_folders.walk_images(path, UnusedFiles()))


def _elsewhere(location: str) -> str:
    what = "standard input" if location == "-" else f"the address '{location}'"
    return f"Data is not read from {what}: copy it to this machine, and give its folder, or a .csv or .jsonl list."


def _no_data(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in ALL_SUFFIXES:
        return f"'{path}' is one image. Give the folder whose subfolders are the classes, or a .csv or .jsonl list."
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        return f"'{path}' is an archive. Unpack it and give the folder."
    kinds = "a folder, a .csv or .jsonl list, or one of the built-in sets digits and shapes"
    return f"'{path}' is not data: it is a file '{suffix or path.name}'. Give {kinds}."


def _nothing_there(path: Path) -> str:
    tried = path.absolute()
    above = next(folder for folder in tried.parents if folder.is_dir())
    try:
        names = sorted(entry.name for entry in above.iterdir() if not entry.name.startswith("."))
    except OSError:
        names = []
    missing = tried.relative_to(above).parts[0]
    hint = suggestion(missing, [*names, *builtin.NAMES])
    shown = ", ".join(names[:SHOWN_NEIGHBORS]) or "nothing"
    more = f" and {len(names) - SHOWN_NEIGHBORS:,} more" if len(names) > SHOWN_NEIGHBORS else ""
    return f"No data at '{path}': {tried} does not exist.{hint} In {above} there is: {shown}{more}."
