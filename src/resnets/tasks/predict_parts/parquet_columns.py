"""The table of a part: its columns, and the bytes of its file."""

import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.inference.optional_packages import import_optional
from resnets.tasks.base import Prediction, Task

METADATA = b"resnets"  # key in the file, as in that of an index
ROWS = 64  # that are Python objects at a time; as Arrow's columns they take a fraction of that
TEXT = "prediction"  # the column of a task that states no types: JSON


def import_parquet() -> Any:
    """`pyarrow.parquet`. Raises UserError where it is not installed."""
    import_optional("pyarrow", "parquet")
    return import_optional("pyarrow.parquet", "parquet")


def to_table(
    task: Task, predictions: Iterable[tuple[Prediction, str | None]], model_sha256: str, metadata: Mapping[str, Any]
) -> Any:
    """The `pyarrow.Table` of a part. Each prediction becomes a row when it comes, since its masks may be large.

    Args:
        predictions: each with the SHA-256 of its image; None for a file that cannot be opened.
    """
    import pyarrow as pa

    types = task.value_types()
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("sha256", pa.string()),
            *((name, _arrow_type(kind)) for name, kind in (types or {TEXT: str}).items()),
            ("error", pa.string()),
            ("model_sha256", pa.string()),
        ],
        metadata={METADATA: json.dumps(metadata, sort_keys=True)},
    )
    rows = (_row(prediction, digest, types, model_sha256) for prediction, digest in predictions)
    batches = []
    while some := list(itertools.islice(rows, ROWS)):
        batches.append(pa.RecordBatch.from_pylist(some, schema))
    return pa.Table.from_batches(batches, schema)


def encode(table: Any) -> bytes:
    """The Parquet file of a table; equal tables give the same bytes."""
    file = io.BytesIO()
    import_parquet().write_table(table.combine_chunks(), file, compression="zstd")
    return file.getvalue()


def read_columns(path: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a part.

    Raises:
        ValueError: it is no undamaged Parquet file.
        OSError: it cannot be read.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        try:
            table = import_parquet().ParquetFile(file).read(columns=list(names))
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error
    return {name: table.column(name).to_pylist() for name in names}


def _row(prediction: Prediction, digest: str | None, types: Mapping[str, Any], model_sha256: str) -> dict[str, Any]:
    return {
        "path": prediction.path,
        "sha256": digest,
        **_values(prediction, types),
        "error": _text(prediction.error),
        "model_sha256": model_sha256,
    }


def _values(prediction: Prediction, types: Mapping[str, Any]) -> dict[str, Any]:
    values = prediction.to_dict()
    if not types:
        own = {name: value for name, value in values.items() if name not in ("path", "error")}
        return {TEXT: None if prediction.error is not None else json.dumps(own)}
    return {name: _cell(values[name], kind) for name, kind in types.items()}


def _cell(value: Any, kind: Any) -> Any:
    return list(value.items()) if isinstance(kind, dict) and str in kind and value is not None else value


def _arrow_type(kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    if isinstance(kind, dict) and str in kind:
        return pa.map_(pa.string(), _arrow_type(kind[str]))
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow_type(each)) for name, each in kind.items()])
    return {str: pa.string(), float: pa.float64(), int: pa.int64()}[kind]


def _text(error: str | None) -> str | None:
    """A file name within an error may be no text."""
    return None if error is None else error.encode("utf-8", "backslashreplace").decode()
