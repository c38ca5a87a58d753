"""The table of a part: its columns, and the bytes of its file."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.inference.optional_packages import import_optional
from resnets.tasks.base import Prediction, Task

METADATA = b"resnets"  # key in the file, as in that of an index
TEXT = "prediction"  # the column of a task that states no types: JSON


def import_parquet() -> Any:
    """`pyarrow.parquet`. Raises UserError where it is not installed."""
    import_optional("pyarrow", "parquet")
    return import_optional("pyarrow.parquet", "parquet")


def encode(
    task: Task,
    predictions: Sequence[Prediction],
    digests: Sequence[str | None],
    model_sha256: str,
    metadata: Mapping[str, Any],
) -> bytes:
    """The Parquet file of a part; equal values give the same bytes.

    Args:
        digests: the SHA-256 of each image; None for a file that cannot be read.
    """
    import pyarrow as pa

    types = task.value_types()
    rows = [
        {
            "path": each.path,
            "sha256": digest,
            **_values(each, types),
            "error": _text(each.error),
            "model_sha256": model_sha256,
        }
        for each, digest in zip(predictions, digests, strict=True)
    ]
    columns = types or {TEXT: str}
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("sha256", pa.string()),
            *((name, _arrow_type(kind)) for name, kind in columns.items()),
            ("error", pa.string()),
            ("model_sha256", pa.string()),
        ],
        metadata={METADATA: json.dumps(metadata, sort_keys=True)},
    )
    file = io.BytesIO()
    import_parquet().write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
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
