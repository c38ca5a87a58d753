"""What takes seconds to make is made once for all processes of a test run: by the first one that needs it."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from filelock import FileLock

FOLDER = "RESNETS_TESTS_FOLDER"  # the variable with the folder that these processes share, which `conftest.py` sets

Made = TypeVar("Made")


def made_once(name: str, make: Callable[[Path], Made]) -> Made:
    """What `make` returned for a new folder. Its files are not to be changed; what it returned is pickled for other processes."""
    folder, result = (Path(os.environ[FOLDER], f"{name}{ending}") for ending in ("", ".pickle"))
    with FileLock(f"{folder}.lock"):
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
    return cast(Made, pickle.loads(result.read_bytes()))
