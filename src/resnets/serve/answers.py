"""Answers in JSON, and what they say of errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from resnets.errors import ImageError, JobError, UserError

RETRY = {"Retry-After": "1"}  # seconds
UNREADABLE = 422  # an image that cannot be read


class Answer(JSONResponse):
    """JSON in ASCII, as the command line prints it: names of classes and files may have any characters."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer that says why there is none."""
    return Answer({"error": reason}, status, headers)


def status_of(error: Exception) -> int:
    """The code of an answer that says what was wrong."""
    if isinstance(error, ImageError):
        return UNREADABLE
    return 400 if isinstance(error, UserError) else 500


def error_answer(error: Exception) -> Mapping[str, str]:
    """What is said of an error: its message, if that is for users."""
    if isinstance(error, (UserError, JobError)):
        return {"error": str(error)}
    return {"error": "The server failed to answer; its log says why."}
