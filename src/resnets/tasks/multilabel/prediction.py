"""The labels of one image."""

from dataclasses import dataclass
from typing import Any

from resnets.message_format import printable
from resnets.tasks.heatmaps.heatmap import Heatmap


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: of the image; its index in brackets, such as "[0]", for an image that is not a file.
        labels: pairs (class name, probability) of the classes whose probability reaches their threshold, the most probable first.
        top: the most probable class and its probability, whether or not it is among the labels; None for an unreadable image.
        error: why the image cannot be read; None if it can.
        heatmaps: those of the labels, or of the most probable class where there is none, where they were asked for.
    """

    path: str
    labels: tuple[tuple[str, float], ...] = ()
    top: tuple[str, float] | None = None
    error: str | None = None
    heatmaps: tuple[Heatmap, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The prediction for JSON, without the heat maps."""
        pairs = [{"label": label, "probability": probability} for label, probability in self.labels]
        top = None if self.top is None else {"label": self.top[0], "probability": self.top[1]}
        return {"path": self.path, "labels": pairs, "top": top, "error": self.error}

    def to_row(self) -> dict[str, str]:
        """The cells of a table: path, labels and probabilities, both joined by `|`, and error."""
        return {
            "path": self.path,
            "labels": "|".join(label for label, _ in self.labels),
            "probabilities": "|".join(f"{probability:.6f}" for _, probability in self.labels),
            "error": self.error or "",
        }

    def __str__(self) -> str:
        """`photo.jpg  beach 98.2 %, people 71.0 %`, or `photo.jpg  no label (nearest: beach 12.0 %)`."""
        if self.error is not None:
            return printable(f"{self.path}  error: {self.error}")
        text = ", ".join(f"{label} {100 * probability:.1f} %" for label, probability in self.labels)
        if not text and self.top is not None:
            text = f"no label (nearest: {self.top[0]} {100 * self.top[1]:.1f} %)"
        return printable(f"{self.path}  {text}")
