"""The prediction for one image."""

from dataclasses import dataclass
from typing import Any

from resnets.message_format import printable
from resnets.tasks.heatmaps.heatmap import Heatmap

MIN_SHOWN = 0.0005  # a probability below it would be printed as 0.0 %, and is left out


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: of the image; its index in brackets, such as "[0]", for an image that is not a file.
        label, probability: the most probable class, and its probability; None for an image that cannot be read.
        top: pairs (class name, probability), the most probable first.
        error: why the image cannot be read; None if it can.
        heatmaps: that of the most probable class, where it was asked for.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    heatmaps: tuple[Heatmap, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The prediction for JSON, without the heat maps."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {
            "path": self.path, "label": self.label, "probability": self.probability, "top": top, "error": self.error,
        }  # fmt: skip

    def to_row(self) -> dict[str, str]:
        """The cells of a table: path, label, probability and error, then label_2, probability_2 and so on."""
        cells = {"path": self.path, "error": self.error or ""}
        for rank, (label, probability) in enumerate(self.top, start=1):
            suffix = "" if rank == 1 else f"_{rank}"
            cells |= {f"label{suffix}": label, f"probability{suffix}": f"{probability:.6f}"}
        return cells

    def __str__(self) -> str:
        """`photo.jpg  daisy 98.2 %  (tulips 1.1 %, roses 0.4 %)`."""
        if self.error is not None:
            return printable(f"{self.path}  error: {self.error}")
        first, *others = [f"{label} {100 * probability:.1f} %" for label, probability in self.top]
        shown = [text for text, (_, probability) in zip(others, self.top[1:], strict=True) if probability > MIN_SHOWN]
        return printable(f"{self.path}  {first}" + (f"  ({', '.join(shown)})" if shown else ""))
