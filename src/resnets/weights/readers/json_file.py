"""JSON that somebody else wrote: of bounded size, an object, with every name once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from resnets.errors import UserError

LIMIT = 16 * 2**20  # bytes; the config.json of a published ResNet with 21,841 class names has about 1.5 MB


def parse(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`.

    Args:
        what: the file, with its quotes, for the message.

    Raises:
        UserError: `data` is larger than `LIMIT`, or no JSON object in UTF-8, or nested too deep, or has a name twice.
    """
    if len(data) > LIMIT:
        raise UserError(f"{what} has more than {LIMIT:,} bytes of JSON, which is not believed.")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # the messages of json may quote the text
        reason = str(error) if isinstance(error, _TwiceError) else type(error).__name__
        raise UserError(f"{what} is not the JSON that belongs there ({reason}). Fetch it again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{what} holds JSON, but no object. Fetch it again.")
    return value


def read(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`.

    Raises:
        UserError: as `parse`, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from None
    return parse(data, f"'{path}'")


class _TwiceError(ValueError):
    """A name stands twice in one object, and readers differ over which one counts."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise _TwiceError("a name is there twice")
    return result
