"""Write the heat maps of predictions."""

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
