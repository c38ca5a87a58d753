"""Read `.safetensors` files of other programs, a single file or shards. The library checks the header."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets.errors import UserError
from resnets.weights.readers import json_file

INDEX = "model.safetensors.index.json"
MAX_SHARDS = 1000


def is_one(head: bytes) -> bool:
    """Whether a file that starts with `head` may be a safetensors file: a length, then JSON."""
    return len(head) > 8 and head[8:9] == b"{"


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, mapped from the file, and the metadata of its header.

    Raises:
        UserError: it is truncated, or its header states wrong sizes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}
    except (SafetensorError, RuntimeError, ValueError, TypeError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"'{path}' is damaged or cut off ({reason}). Download the file again.") from None


def read_shards(index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of all files that `index` names, which are in the same folder.

    Raises:
        UserError: the index names a path, a file has other tensors than it says, or a file cannot be read.
    """
    weight_map = json_file.read(index).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(shard, str) for shard in weight_map.values())
    ):
        raise UserError(f"'{index}' has no 'weight_map' from tensors to files. Download the file again.")
    shards = sorted(set(weight_map.values()))
    if len(shards) > MAX_SHARDS:
        raise UserError(f"'{index}' names {len(shards):,} files, which is more than {MAX_SHARDS:,}.")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        if Path(shard).name != shard or "\\" in shard or "\0" in shard or not shard.endswith(".safetensors"):
            raise UserError(f"'{index}' names {shard[:80]!r}, which is no .safetensors file beside it.")
        if not (index.parent / shard).is_file():
            raise UserError(f"'{index}' names '{shard}', which is not there. Download it, too.")
        found, _ = read(index.parent / shard)
        if found.keys() != {name for name, file in weight_map.items() if file == shard}:
            raise UserError(
                f"'{index.parent / shard}' does not hold the tensors that '{index.name}' says. Download both files again."
            )
        tensors |= found
    return {name: tensors[name] for name in weight_map}, {}
