"""Read `.keras` files of Keras 3, in the sandbox: zip archives with `config.json`, `metadata.json` and `model.weights.h5`.

Nothing is built from the configuration, so a Lambda layer in it stays text.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, BinaryIO

from resnets.errors import UserError
from resnets.weights.readers import json_file, keras_h5
from resnets.weights.readers.errors import RATIO, RefusedError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read(file: BinaryIO, _: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays as `keras_h5.read` names them, and its attributes with `config` and `keras_version`.

    Raises:
        RefusedError: a zip bomb, a path that leads outside, a duplicate member, no weights, or damage.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        check(archive)
        if WEIGHTS not in names:
            raise RefusedError(f"is a .keras file without {WEIGHTS}; weights in several files are not read.")
        config = _json(archive, CONFIG)
        metadata = _json(archive, METADATA) if METADATA in names else {}
        weights = archive.read(WEIGHTS)
    if not weights.startswith(keras_h5.MAGIC):
        raise RefusedError(f"holds a {WEIGHTS} that is not an HDF5 file. Download the file again.")
    arrays, attributes = keras_h5.read(io.BytesIO(weights))
    version = metadata.get("keras_version")
    return arrays, {**attributes, "config": config, **({"keras_version": version} if isinstance(version, str) else {})}


def check(archive: zipfile.ZipFile) -> None:
    """Refuse an archive with an inconsistent directory.

    Raises:
        RefusedError: duplicate names, paths that lead outside, or more bytes than the archive can hold.
    """
    members = archive.infolist()
    if len({info.filename for info in members}) < len(members):
        raise RefusedError("holds a file twice, so it is not clear which one counts.")
    for info in members:
        components = info.filename.replace("\\", "/").split("/")
        if ".." in components or not components[0] or ":" in components[0]:
            raise RefusedError(f"holds a file with a path that leads outside: {info.filename[:80]!r}.")
    claimed = sum(info.file_size for info in members)
    size = sum(info.compress_size for info in members)
    if claimed > RATIO * size + 2**20:
        raise RefusedError(
            f"has {size:,} bytes and claims to unpack to {claimed:,}, which is more than weights compress."
        )


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    with archive.open(name) as member:
        data = member.read(json_file.LIMIT + 1)
    try:
        return json_file.parse(data, name)
    except UserError as error:
        raise RefusedError(f"is damaged: {error}") from None
