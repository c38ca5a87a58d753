"""`.safetensors` files of other programs, one or several of them, whose header is checked before it is believed.

The format: 8 bytes with the length of the header (little-endian), the header as JSON
`{name: {dtype, shape, data_offsets: [from, to]}}`, the numbers (huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets.errors import UserError
from resnets.weights import documents, kinds

INDEX = "model.safetensors.index.json"
SHARDS = 1000

# Bytes of each kind of number; those of fewer than 8 bits are of no ResNet.
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
           "U16": 2, "U32": 4, "U64": 8}  # fmt: skip


def is_one(head: bytes) -> bool:
    """Whether a file that begins with `head` may be one: a length, then JSON."""
    return len(head) > 8 and head[8:9] == b"{"


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, mapped from the file, and the metadata of its header.

    Raises:
        UserError: it is cut off, or its header lies.
    """
    header = _header(path)
    metadata = header.pop("__metadata__", None)
    _check(path, header)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in header}
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"'{path}' is damaged ({reason}). Fetch it again.") from None
    return tensors, metadata if isinstance(metadata, dict) else {}


def read_shards(index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of all files that `index` names; they lie beside it.

    Raises:
        UserError: the index names a path, a file has other tensors than it says, or a file cannot be read.
    """
    places = documents.read(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
        raise UserError(f"'{index}' has no 'weight_map' from tensors to files. Fetch it again.")
    shards = sorted(set(places.values()))
    if len(shards) > SHARDS:
        raise UserError(f"'{index}' names {len(shards):,} files, which is not believed.")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        if Path(shard).name != shard or "\\" in shard or "\0" in shard or not shard.endswith(".safetensors"):
            raise UserError(f"'{index}' names {shard[:80]!r}, which is no .safetensors file beside it.")
        if not (index.parent / shard).is_file():
            raise UserError(f"'{index}' names '{shard}', which is not there. Fetch it, too.")
        found, _ = read(index.parent / shard)
        if found.keys() != {name for name, place in places.items() if place == shard}:
            raise UserError(
                f"'{index.parent / shard}' does not hold the tensors that '{index.name}' says. Fetch both again."
            )
        tensors |= found
    return {name: tensors[name] for name in places}, {}


def _header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(9)
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 9 else 0
        if not is_one(head):
            raise UserError(f"'{path}' is {kinds.describe(path)}.")
        if length > documents.LIMIT:
            raise UserError(f"'{path}' claims a header of {length:,} bytes, which is not believed.")
        if 8 + length > size:
            raise UserError(f"'{path}' is cut off in its header, after {size:,} bytes. Fetch it again.")
        file.seek(8)
        return documents.parse(file.read(length), f"The header of '{path}'") | {"": length}


def _check(path: Path, header: dict[str, Any]) -> None:
    length = header.pop("")
    held = path.stat().st_size - 8 - length
    end = 0
    spans = []
    for name, entry in header.items():
        span = _span(entry)
        if span is None:
            raise UserError(f"'{path}' has a header that lies about the tensor {name[:80]!r}. Fetch it again.")
        spans.append(span)
        end = max(end, span[1])
    if end > held:
        raise UserError(f"'{path}' is cut off: it holds {held:,} of {end:,} bytes of tensors. Fetch it again.")
    at = 0
    for start, stop in sorted(spans):
        if start != at:
            raise UserError(f"'{path}' has tensors that overlap or gaps between them. Fetch it again.")
        at = stop
    if at != held:
        raise UserError(f"'{path}' has {held - at:,} bytes that belong to no tensor. Fetch it again.")


def _span(entry: Any) -> tuple[int, int] | None:
    """From which byte to which; None when the entry contradicts itself."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return None
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _WIDTHS or not _counts(shape) or not _counts(offsets):
        return None
    if len(shape) > 8 or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * _WIDTHS[dtype]:
        return None
    return offsets[0], offsets[1]


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)
