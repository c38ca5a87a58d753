"""The directory of downloads and other cached files."""

import os
import sys
from pathlib import Path


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
