"""Read a JSON object of another program, bounded in size."""

import json
from pathlib import Path
from typing import Any

from resnets.errors import UserError

LIMIT = 16 * 2**20  # bytes; the config.json of a published ResNet with 21,841 class names has about 1.5 MB


def parse(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`.

    Args:
        name: the file, in quotes, for the message.

    Raises:
        UserError: `data` is larger than `LIMIT`, or no JSON object in UTF-8, or nested too deep.
    """
    if len(data) > LIMIT:
        raise UserError(f"{name} has more than {LIMIT:,} bytes of JSON, more than any weights file needs.")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # the messages of json may quote the text
        reason = type(error).__name__
        raise UserError(f"{name} is not the JSON that belongs there ({reason}). Download the file again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{name} holds JSON, but no object. Download the file again.")
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
