"""`.keras` files of Keras 3: a zip archive with `config.json`, `metadata.json` and `model.weights.h5`.

Only the tensors and the JSON are read. Nothing is made from the configuration, so a Lambda layer in it stays text.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.errors import UserError
from resnets.weights import archives, documents, hdf5

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def is_archive(names: list[str]) -> bool:
    """Whether these members are those of a `.keras` file."""
    return CONFIG in names and (METADATA in names or WEIGHTS in names)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors as `hdf5.read` names them, and its attributes with `config` and `keras_version`.

    Raises:
        UserError: a bomb, a path that leads outside, a member twice or encrypted, no weights, or damage.
    """
    # Apart, since libhdf5 wants a file; no more is written than the archive's directory says, which is limited.
    with tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        weights = Path(folder) / WEIGHTS
        with archives.opened(path) as archive:
            if WEIGHTS not in archive.namelist():
                raise UserError(f"'{path}' is a .keras file without {WEIGHTS}; weights in several files are not read.")
            config = _json(path, archive, CONFIG)
            metadata = _json(path, archive, METADATA) if METADATA in archive.namelist() else {}
            with weights.open("wb") as target:
                archives.unpack(path, archive, WEIGHTS, target)
        with weights.open("rb") as file:
            if file.read(len(hdf5.MAGIC)) != hdf5.MAGIC:
                raise UserError(f"'{path}' holds a {WEIGHTS} that is no HDF5 file. Fetch it again.")
        tensors, attributes = hdf5.read(weights, known_as=path)
    version = metadata.get("keras_version")
    return tensors, {**attributes, "config": config, **({"keras_version": version} if isinstance(version, str) else {})}


def _json(path: Path, archive: Any, name: str) -> dict[str, Any]:
    return documents.parse(archives.content(path, archive, name, documents.LIMIT), f"{name} in '{path}'")
