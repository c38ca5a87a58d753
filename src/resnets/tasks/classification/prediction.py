"""The prediction for one image, and its row in a CSV or JSON lines file."""

from __future__ import annotations

import csv
import dataclasses
import json
from dataclasses import dataclass
from typing import Any, TextIO

from resnets.message_format import printable

MIN_SHOWN = 0.0005  # a probability below it would be printed as 0.0 %, and is left out


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: of the image; its index in brackets, such as "[0]", for an image that is not a file.
        label, probability: the most probable class, and its probability; None for an image that cannot be read.
        top: pairs (class name, probability), the most probable first.
        error: why the image cannot be read; None if it can.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction for JSON."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {**dataclasses.asdict(self), "top": top}

    def __str__(self) -> str:
        """`photo.jpg  daisy 98.2 %  (tulips 1.1 %, roses 0.4 %)`."""
        if self.error is not None:
            return printable(f"{self.path}  error: {self.error}")
        first, *others = [f"{label} {100 * probability:.1f} %" for label, probability in self.top]
        shown = [text for text, (_, probability) in zip(others, self.top[1:], strict=True) if probability > MIN_SHOWN]
        return printable(f"{self.path}  {first}" + (f"  ({', '.join(shown)})" if shown else ""))


class CsvRows:
    """Columns: path, label, probability, error, then label_2, probability_2 and so on up to `top_k`."""

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._table = csv.writer(file, lineterminator="\n")
        self._top_k = top_k
        others = [name for rank in range(2, top_k + 1) for name in (f"label_{rank}", f"probability_{rank}")]
        self._table.writerow(["path", "label", "probability", "error", *others])

    def write(self, prediction: Prediction) -> None:
        """Add the row of `prediction`; for an unreadable image, only path and error."""
        pairs = [(label, f"{probability:.6f}") for label, probability in prediction.top]
        pairs += [("", "")] * (self._top_k - len(pairs))
        first, *others = pairs
        flat = [cell for pair in others for cell in pair]
        self._table.writerow([prediction.path, *first, prediction.error or "", *flat])


class JsonRows:
    """One JSON object a line, as `Prediction.to_dict` gives it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, prediction: Prediction) -> None:
        """Add the line of `prediction`."""
        print(json.dumps(prediction.to_dict()), file=self._file)
