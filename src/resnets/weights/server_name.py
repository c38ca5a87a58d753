"""The name of a model on a server: the same by `resnets serve` and in a model repository."""

import re
from pathlib import Path

from resnets.weights import local_file


def of_path(path: str) -> str:
    """That of its run, or of its file without the suffix; of a name of the catalog, itself."""
    if not Path(path).exists():
        return path
    resolved = Path(path).resolve()
    if local_file.is_run_dir(resolved.parent.parent):
        return resolved.parent.parent.name
    suffixes = (local_file.SUFFIX, *local_file.EXPORTED)
    return next((resolved.name.removesuffix(each) for each in suffixes if resolved.name.endswith(each)), resolved.name)


def as_address(name: str) -> str:
    """The name with letters, digits, ".", "_" and "-" only, as it stands in addresses."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).strip(".") or "model"
