"""Open a dataset by its location: class folders, a manifest, shards, or the name of a built-in dataset."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from resnets.data.datasets import builtin, read_multilabel, read_shards, walk_folders
from resnets.data.datasets.class_folders import read_folder
from resnets.data.datasets.dataset import Dataset, UnusedFiles, text_order_note
from resnets.data.datasets.manifests import MANIFESTS, read_manifest
from resnets.data.image.formats import ALL_SUFFIXES
from resnets.data.loading.thread_pool import call_with_timeout
from resnets.errors import UserError
from resnets.message_format import format_list, suggestion
from resnets.progress import log

SHOWN_NEIGHBORS = 12
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # https://, s3://, gs://, file://


def read(location: str | Path, *, on_inaccessible: str = "error") -> Dataset:
    """Read a dataset, and log in a line what in it is not used.

    Args:
        location: a folder `DIR/CLASS/*` or `DIR/{train,val,test}/CLASS/*`; a folder of shards that `resnets data shard`
            wrote; a manifest `.csv` or `.jsonl` with the columns path and label, and optionally split, group and weight; what
            `read_multilabel` reads; or `digits`, `digit-scenes` or `shapes`, which are built in. A folder or file of that name
            takes precedence over the built-in dataset.
        on_inaccessible: "error", or "skip" for folders that cannot be listed.

    No image is decoded here: whether a file can be read is the question of `check`.

    Returns:
        The dataset: its samples with labels, and splits where the data has them.

    Raises:
        UserError: the location does not exist, a folder cannot be listed, or it is not laid out in one of these ways; the
            message says what is there.
        JobError: the storage does not answer within RESNETS_TIMEOUT_MINUTES.
    """
    dataset = _read(location)
    if on_inaccessible == "error":
        walk_folders.refuse_inaccessible(dataset.unused)
    if message := walk_folders.describe_unused(dataset.unused):
        log(message)
    for warning in dataset.layout_warnings:
        log(f"warning: {warning}")
    if note := text_order_note(dataset.class_names):
        log(note)
    return dataset


def _read(location: str | Path) -> Dataset:
    if str(location) == "-" or _URL.match(str(location)):
        raise UserError(_not_local_message(str(location)))
    path = Path(location).expanduser()
    kind = call_with_timeout(_location_kind, path)
    if kind == "shards":
        return read_shards.read(path)
    if kind == "unfinished shards":
        missing = f"but no {read_shards.MANIFEST}: their writing did not end"
        raise UserError(f"'{path}' holds shards, {missing}. Write them again.")
    if kind == "nothing":
        if str(location) not in builtin.NAMES:
            raise UserError(describe_missing(path))
        path, kind = builtin.cached_folder(str(location)), "folder"
    if call_with_timeout(read_multilabel.is_multilabel, path):
        return read_multilabel.read(path)
    if kind == "folder":
        return read_folder(path)
    if path.suffix.lower() in MANIFESTS:
        return read_manifest(path)
    raise UserError(_wrong_file_message(path))


def _location_kind(path: Path) -> str:
    if (path / read_shards.MANIFEST).is_file():
        return "shards"
    if path.is_dir():
        return "unfinished shards" if read_shards.is_unfinished(path) else "folder"
    return "file" if path.is_file() else "nothing"


def is_builtin(location: str | Path) -> bool:
    """Whether `read` would take `location` for the name of a built-in dataset, since no file has this name."""
    return str(location) in builtin.NAMES and not Path(location).expanduser().exists()


def is_multilabel(location: str | Path) -> bool:
    """Whether `read` would find any number of labels for each image there; no image is read."""
    path = Path(location).expanduser()
    if is_builtin(location):
        return str(location) == "digit-scenes"
    return call_with_timeout(read_multilabel.is_multilabel, path)


def contains_images(location: str | Path) -> bool:
    """Whether it is a manifest, or a folder with an image at any depth."""
    path = Path(location).expanduser()
    if path.is_file():
        return path.suffix.lower() in MANIFESTS
    return path.is_dir() and any(True for _ in walk_folders.walk_images(path, UnusedFiles()))


def _not_local_message(location: str) -> str:
    what = "standard input" if location == "-" else f"the address '{location}'"
    return f"Data is not read from {what}: copy it to this machine, and give its folder, or a .csv or .jsonl list."


def _wrong_file_message(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in ALL_SUFFIXES:
        return f"'{path}' is one image. Give the folder whose subfolders are the classes, or a .csv or .jsonl list."
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"):
        return f"'{path}' is an archive. Unpack it and give the folder."
    kinds = "a folder, a .csv or .jsonl list, or one of the built-in datasets digits, digit-scenes and shapes"
    return f"'{path}' is not data: it is a file '{suffix or path.name}'. Give {kinds}."


def suggest_path(path: Path, others: Sequence[str] = ()) -> str:
    """` Did you mean 'x'?` for what stands where a path that does not exist leads to, or for one of the `others`; or ""."""
    _, missing, names = _neighbors(path)
    return suggestion(missing, [*names, *others])


def _neighbors(path: Path) -> tuple[Path, str, list[str]]:
    """The folder in which the first part of a path is missing, that part, and what is there."""
    absolute = path.absolute()
    above = next(folder for folder in absolute.parents if os.path.isdir(folder))  # no error for any name
    try:
        names = sorted(entry.name for entry in above.iterdir() if not entry.name.startswith("."))
    except OSError:
        names = []
    return above, absolute.relative_to(above).parts[0], names


def describe_missing(path: Path) -> str:
    """The message for data that do not exist, with what is there instead."""
    above, _, names = _neighbors(path)
    hint = suggest_path(path, builtin.NAMES)
    shown = format_list(names, SHOWN_NEIGHBORS, quote=False) or "nothing"
    return f"No data at '{path}': {path.absolute()} does not exist.{hint} In {above} there is: {shown}."
