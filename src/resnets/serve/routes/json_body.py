"""The JSON of a request."""

import json
from typing import Any

from resnets.errors import UserError

MAX_VALUES = 1_000_000  # as Python objects, some 100 bytes each


def parse(content: bytes) -> dict[str, Any]:
    """The object in the body of a request.

    Raises:
        UserError: it is no JSON object, or has so many values that it would fill the memory: a list of 20 MB takes 20 times that.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise UserError(f"The JSON has more than {MAX_VALUES:,} values. Send the bytes of images, or binary tensors.")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):  # also for bytes that are no text
        raise UserError("The body is no JSON.") from None
    if not isinstance(values, dict):
        raise UserError("The JSON of a request is an object.")
    return values
