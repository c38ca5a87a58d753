"""`.safetensors` files of other programs, one or several of them; `safetensors` checks a header before it believes it."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets.errors import UserError
from resnets.weights.readers import json_file

INDEX = "model.safetensors.index.json"
SHARDS = 1000


def is_one(head: bytes) -> bool:
    """Whether a file that begins with `head` may be one: a length, then JSON."""
    return len(head) > 8 and head[8:9] == b"{"


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, mapped from the file, and the metadata of its header.

    Raises:
        UserError: it is cut off, or its header lies.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.offset_keys()}, file.metadata() or {}
    except (SafetensorError, RuntimeError, ValueError, TypeError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"'{path}' is damaged or cut off ({reason}). Fetch it again.") from None


def read_shards(index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of all files that `index` names; they lie beside it.

    Raises:
        UserError: the index names a path, a file has other tensors than it says, or a file cannot be read.
    """
    places = json_file.read(index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
        raise UserError(f"'{index}' has no 'weight_map' from tensors to files. Fetch it again.")
    shards = sorted(set(places.values()))
    if len(shards) > SHARDS:
        raise UserError(f"'{index}' names {len(shards):,} files, which is more than {SHARDS:,}.")
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
