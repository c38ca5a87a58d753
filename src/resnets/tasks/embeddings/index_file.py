"""Read and write an index: .npz, or .parquet with a row for each image. Reading runs no code of the file."""

from __future__ import annotations

import base64
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnets import atomic_write
from resnets.errors import UserError
from resnets.inference.optional_packages import import_optional
from resnets.message_format import format_bytes, suggestion
from resnets.resource_limits import free_memory
from resnets.tasks.embeddings.embedding_index import Index
from resnets.tasks.embeddings.pca import Projection

SUFFIXES = (".npz", ".parquet")
FORMAT = 1
METADATA = b"resnets"  # key in a Parquet file
_FIELDS = ("folder", "checkpoint", "checkpoint_sha256", "layer", "preprocess", "l2")


def check_output(path: str | Path) -> None:
    """Raise UserError for a file of another kind, or one that cannot be written."""
    if Path(path).suffix not in SUFFIXES:
        raise UserError(f"`out` is a file that ends in {' or '.join(SUFFIXES)}; received '{path}'.")
    if Path(path).suffix == ".parquet":
        _pyarrow()
    atomic_write.check_file_writable(path)


def write(index: Index, path: str | Path) -> None:
    """Write the index, whole or not at all.

    Raises:
        UserError: another suffix, or a file name that Parquet cannot hold.
        JobError: the disk is full.
    """
    writer = _write_parquet if Path(path).suffix == ".parquet" else _write_npz
    with atomic_write.replace_file(path) as temporary:
        writer(index, temporary)


def read(path: str | Path) -> Index:
    """The index in a file.

    Raises:
        UserError: there is no such file, or it is no index.
    """
    reader = _read_parquet if Path(path).suffix == ".parquet" else _read_npz
    try:
        index = reader(Path(path))
    except UserError:  # a ValueError, too
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        hint = _near(Path(path)) or _command(Path(path))
        raise UserError(f"The index '{path}' cannot be read: {error.strerror}.{hint}") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RecursionError,
    ):
        raise UserError(f"'{path}' is not an index, or it is damaged.{_command(Path(path))}") from None
    return index


def _near(path: Path) -> str:
    """The index beside `path` that has nearly its name, if there is one."""
    try:
        beside = {each.name: str(each) for each in path.parent.iterdir() if each.suffix in SUFFIXES}
    except OSError:
        return ""
    return suggestion(path.name, beside, shown=beside)


def _command(path: Path) -> str:
    name = path.name if path.suffix in SUFFIXES else "INDEX.npz"
    return f" `resnets embed CHECKPOINT PATH --out {name}` writes one."


def _metadata(index: Index) -> dict[str, Any]:
    return {"format": FORMAT, **{name: getattr(index, name) for name in _FIELDS}}


def _index(
    vectors: np.ndarray, paths: tuple[str, ...], values: Mapping[str, Any], projection: Projection | None
) -> Index:
    """Raise ValueError, KeyError or TypeError for values that do not fit each other."""
    fits = vectors.ndim == 2 and vectors.dtype == np.float32 and len(vectors) == len(paths) > 0
    if values["format"] != FORMAT or not fits or not np.isfinite(vectors).all():
        raise ValueError("other vectors")
    if not all(isinstance(path, str) for path in paths):  # Parquet has null
        raise ValueError("other paths")
    if projection is not None:
        parts = projection.mean, projection.components
        if projection.mean.ndim != 1 or projection.components.shape != (vectors.shape[1], len(projection.mean)):
            raise ValueError("another projection")
        if not all(part.dtype == np.float32 and np.isfinite(part).all() for part in parts):
            raise ValueError("other numbers of a projection")
    texts = (values[name] for name in ("folder", "checkpoint", "checkpoint_sha256", "layer"))
    if not all(isinstance(text, str) for text in texts) or not isinstance(values["l2"], bool):
        raise ValueError("other values")
    return Index(vectors, paths, projection=projection, **{name: values[name] for name in _FIELDS})


def _write_npz(index: Index, path: Path) -> None:
    arrays: dict[str, Any] = {
        "vectors": np.ascontiguousarray(index.vectors),
        "paths": np.array(index.paths, dtype=np.str_),
        "metadata": np.array(json.dumps(_metadata(index))),
    }
    if index.projection is not None:
        arrays |= {
            "pca_mean": index.projection.mean,
            "pca_components": index.projection.components,
            "pca_explained": np.array(index.projection.explained),
        }
    with path.open("wb") as file:  # given a path, numpy would append a suffix
        np.savez(file, **arrays)  # none holds objects, so nothing is pickled


def _check_memory(path: Path, size: int) -> None:
    """Raise UserError where `size` bytes, which a small file can claim by compression, do not fit into the memory."""
    free = free_memory()
    if size > free:
        raise UserError(
            f"The index '{path}' needs {format_bytes(size)} of memory, and {format_bytes(free)} are free. Embed fewer images, or "
            "use `pca`."
        )


def _read_npz(path: Path) -> Index:
    with zipfile.ZipFile(path) as archive:
        _check_memory(path, sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        paths = file["paths"]
        if paths.ndim != 1 or paths.dtype.kind != "U":
            raise ValueError("other paths")
        projection = None
        if "pca_mean" in file:
            projection = Projection(file["pca_mean"], file["pca_components"], float(file["pca_explained"]))
        return _index(file["vectors"], tuple(paths.tolist()), json.loads(str(file["metadata"])), projection)


def _write_parquet(index: Index, path: Path) -> None:
    pa, parquet = _pyarrow()
    values = _metadata(index)
    if index.projection is not None:
        values["pca"] = {
            "mean": _encoded(index.projection.mean),
            "components": _encoded(index.projection.components),
            "explained": index.projection.explained,
        }
    try:
        paths = pa.array(index.paths, pa.string())
    except (UnicodeEncodeError, pa.ArrowException):
        name = next(name for name in index.paths if not _is_utf8(name))
        raise UserError(f"The name of {name!a} is not UTF-8, which Parquet needs: rename it, or write .npz.") from None
    flat = pa.array(np.ascontiguousarray(index.vectors).reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, index.vectors.shape[1])
    table = pa.table({"path": paths, "vector": vectors})
    parquet.write_table(table.replace_schema_metadata({METADATA: json.dumps(values)}), path)


def _read_parquet(path: Path) -> Index:
    pa, parquet = _pyarrow()
    with path.open("rb") as file:
        try:
            opened = parquet.ParquetFile(file)
            kind = opened.schema_arrow.field("vector").type
            if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32():
                raise ValueError("other vectors")
            _check_memory(path, 4 * kind.list_size * opened.metadata.num_rows)
            table = opened.read()
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error
    values = json.loads(table.schema.metadata[METADATA])
    vectors = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    projection = None
    if "pca" in values:
        mean = _decoded(values["pca"]["mean"])
        components = _decoded(values["pca"]["components"]).reshape(-1, len(mean))
        projection = Projection(mean, components, float(values["pca"]["explained"]))
    paths = tuple(table.column("path").to_pylist())
    return _index(vectors.reshape(len(paths), kind.list_size), paths, values, projection)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def _decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def _pyarrow() -> tuple[Any, Any]:
    """Raise UserError where it is not installed."""
    return import_optional("pyarrow", "parquet"), import_optional("pyarrow.parquet", "parquet")
