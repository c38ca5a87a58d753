"""Read `.keras` files of Keras 3, in the sandbox: zip archives with `config.json`, `metadata.json` and `model.weights.h5`.

Nothing is built from the configuration, so a Lambda layer in it stays text.
"""

import io
import zipfile
from typing import Any, BinaryIO

from resnets.weights.readers import keras_h5
from resnets.weights.readers.errors import RATIO, RefusedError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def read(file: BinaryIO, _: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays as `keras_h5.read` names them, and its attributes with `config` and `keras_version`.

    Raises:
        RefusedError: a zip bomb, a duplicate member, no weights, or damage.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        _check(archive.infolist())
        if WEIGHTS not in names:
            raise RefusedError(f"is a .keras file without {WEIGHTS}; weights in several files are not read.")
        config = keras_h5.parse_json(archive.read(CONFIG), CONFIG)
        metadata = keras_h5.parse_json(archive.read(METADATA), METADATA) if METADATA in names else {}
        weights = archive.read(WEIGHTS)
    if not weights.startswith(keras_h5.MAGIC):
        raise RefusedError(f"holds a {WEIGHTS} that is not an HDF5 file. Download the file again.")
    arrays, attributes = keras_h5.read(io.BytesIO(weights))
    version = metadata.get("keras_version")
    return arrays, {**attributes, "config": config, **({"keras_version": version} if isinstance(version, str) else {})}


def _check(members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive with a name twice, or with more bytes than it can hold."""
    if len({info.filename for info in members}) < len(members):
        raise RefusedError("holds a file twice, so it is not clear which one counts.")
    claimed, size = (sum(getattr(info, name) for info in members) for name in ("file_size", "compress_size"))
    if claimed > RATIO * size + 2**20:
        raise RefusedError(
            f"has {size:,} bytes and claims to unpack to {claimed:,}, which is more than weights compress."
        )
