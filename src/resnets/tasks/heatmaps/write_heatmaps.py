"""Write the heat maps of predictions, as images or as values for JSON."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resnets.tasks.heatmaps import heatmap
from resnets.tasks.outputs.choose_files import choose_files


@contextmanager
def heatmap_writer(folder: str) -> Iterator[Callable[[Any], None]]:
    """A PNG file of each image beside the heat maps of its predicted classes."""
    name_of = choose_files(Path(folder))

    def write(prediction: Any) -> None:
        heatmap.draw(prediction.heatmaps, name_of(prediction.path, ".png"))

    yield write


def to_dict_with_maps(prediction: Any) -> dict[str, Any]:
    """A prediction for JSON, with `heatmaps`, where it has any."""
    found: dict[str, Any] = prediction.to_dict()
    if prediction.heatmaps:
        found["heatmaps"] = [each.to_dict() for each in prediction.heatmaps]
    return found
