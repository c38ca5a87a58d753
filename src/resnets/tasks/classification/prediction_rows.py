"""Predictions as rows for other programs."""

from __future__ import annotations

import csv
import json
from typing import TextIO

from resnets.tasks.classification.prediction import Prediction


class CsvRows:
    """Columns: path, label, probability, error, then label_2, probability_2 and so on up to `top_k`."""

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._table = csv.writer(file, lineterminator="\n")
        self._top_k = top_k
        others = [name for place in range(2, top_k + 1) for name in (f"label_{place}", f"probability_{place}")]
        self._table.writerow(["path", "label", "probability", "error", *others])

    def write(self, prediction: Prediction) -> None:
        """Add the row of `prediction`; of an unreadable image only path and error are filled."""
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
