"""A check that no output goes among the images that are read, where predictions would mix with labels."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from resnets.errors import UserError

FOLDERS = 10_000  # that are remembered; images of one folder mostly follow each other


def checked(name: str, folder: str | Path, paths: Sequence[str], images: Iterable[str]) -> Iterator[str]:
    """The images, unchanged, as they come.

    Args:
        name: the argument whose value is the folder of the output.
        paths: those that the user gave, among them folders of images.

    Raises:
        UserError: the folder is in one of them, or an image is in the folder.
    """
    out = Path(folder).resolve()

    @lru_cache(FOLDERS)
    def is_in_output(parent: str) -> bool:
        return Path(parent).resolve().is_relative_to(out)

    wrong = any(out.is_relative_to(Path(path).resolve()) for path in paths if os.path.isdir(path))
    for image in images:
        if wrong or is_in_output(os.path.dirname(image)):
            raise UserError(
                f"`{name}={folder}` would put files among the images that are read. Choose a folder outside of them."
            )
        yield image
