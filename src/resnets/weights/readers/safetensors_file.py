"""Read `.safetensors` files of other programs. The library checks the header."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets.errors import UserError


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
