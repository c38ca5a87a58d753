"""Find annotation files by name in a folder, or in its folders for train, val and test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from resnets.data.datasets.dataset import UnusedFiles, split_from_name
from resnets.data.datasets.walk_folders import list_folder
from resnets.data.image.formats import SUFFIXES


def find_named(root: Path, names: Iterable[str], accepts: Callable[[Path], bool]) -> dict[Path, str | None]:
    """The first file of `names` that `accepts` is true for: that in `root`, else those in folders named for splits."""
    for name in names:
        if accepts(root / name):
            return {root / name: None}
        folders = {folder: split_from_name(folder.name) for folder in list_folder(root, UnusedFiles()).folders}
        files = {folder / name: split for folder, split in folders.items() if split and accepts(folder / name)}
        if files:
            return dict(files)
    return {}


def by_stem(folders: Iterable[Path]) -> dict[str, Path]:
    """The images that lie in the folders, by their names without suffix."""
    return {path.stem: path for folder in folders for path in list_folder(folder, UnusedFiles()).images}


def has_suffix(name: str) -> bool:
    """Whether the name ends like that of an image."""
    return Path(name).suffix.lower() in SUFFIXES
