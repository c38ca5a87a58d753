"""What a network says about one image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from resnets.errors import printable

LEAST_SHOWN = 0.0005  # what would be printed as 0.0 % is left out


@dataclass(frozen=True)
class Prediction:
    """`top` holds (class name, probability), the most probable first; `label` and `probability` are the first of them.

    Of an image that cannot be read, `error` says why, and there is no label. `path` is a number in brackets, counted
    from 0, for an image that did not come from a file.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {**dataclasses.asdict(self), "top": top}

    def __str__(self) -> str:
        """`photo.jpg  daisy 98.2 %  (tulips 1.1 %, roses 0.4 %)`."""
        if self.error is not None:
            return printable(f"{self.path}  error: {self.error}")
        first, *others = [f"{label} {100 * probability:.1f} %" for label, probability in self.top]
        shown = [text for text, (_, probability) in zip(others, self.top[1:], strict=True) if probability > LEAST_SHOWN]
        return printable(f"{self.path}  {first}" + (f"  ({', '.join(shown)})" if shown else ""))
