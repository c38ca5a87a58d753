"""The JSON of a request."""

import json
from typing import Any

from resnets.errors import UserError

MAX_VALUES = 200_000  # as Python objects, some 100 bytes each
MAX_DIGITS = 20  # of a whole number: reading one takes time by the square of its digits


def parse(content: bytes) -> dict[str, Any]:
    """The object in the body of a request.

    Raises:
        UserError: it is no JSON object, or has so many values that it would fill the memory and hold up other requests: a list of
            20 MB takes 20 times that.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise UserError(f"The JSON has more than {MAX_VALUES:,} values. Send the bytes of images, or binary tensors.")
    try:
        values = json.loads(content, parse_constant=_refuse_constant, parse_int=_parse_int)
    except UserError:
        raise
    except (ValueError, RecursionError):  # also for bytes that are no text
        raise UserError("The body is no JSON.") from None
    if not isinstance(values, dict):
        raise UserError("The JSON of a request is an object.")
    return values


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise UserError(f"The JSON has a whole number of {len(digits)} digits; {MAX_DIGITS} are read.")
    return int(digits)
