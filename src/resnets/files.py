"""SHA-256 of a file, and the cache directory."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the bytes of a file, as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    return hash_file(path, "sha256")


def hash_file(path: str | os.PathLike[str], algorithm: str) -> str:
    """As `sha256`, by another algorithm of `hashlib`, such as "md5"."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def cache_dir() -> Path:
    """$RESNETS_HOME, or `resnets` in the cache directory that the platform has for a user's programs."""
    home = os.environ.get("RESNETS_HOME")
    if home:
        return Path(home).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
    return Path(base) / "resnets"


def _home() -> Path:
    """The home directory; for a user who has none, a path where nothing is found and nothing can be written."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)
