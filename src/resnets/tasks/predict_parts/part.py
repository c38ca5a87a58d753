"""A part: its place in the list of images, and the name of its file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PARQUET = ".parquet"
NAME_DIGITS = 16  # of the hash in the name, hexadecimal


class Part(NamedTuple):
    """The place of a part in the list: its number, from 0, its first byte, the byte after its last, and the SHA-256 of them."""

    number: int
    start: int
    end: int
    sha256: str


def part_name(part: Part, settings: Mapping[str, Any]) -> str:
    """The name of the file of a part: its number, so that names sort as the list does, and a hash of its paths and the settings.

    Args:
        settings: as `job_settings.settings_of` gives them.
    """
    content = json.dumps([settings, part.sha256], sort_keys=True)
    return f"part-{part.number:07d}-{hashlib.sha256(content.encode()).hexdigest()[:NAME_DIGITS]}{PARQUET}"


def find_part_names(folder: Path) -> set[str]:
    """The names of the files in the folder that parts may have."""
    return {path.name for path in folder.glob(f"part-*{PARQUET}")}
