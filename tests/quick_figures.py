"""Figures of runs stay white and small, and their grids hold few images: drawing takes longer than a tiny training."""

from collections.abc import Callable

from matplotlib.backends.backend_agg import FigureCanvasAgg

from resnets.report.figures import image_grid
from resnets.tasks.classification.report import heatmap_examples, prediction_images


def leave_white(replace: Callable[[object, str, object], None] = setattr) -> None:
    replace(image_grid, "MAX_IMAGES", 6)
    replace(prediction_images, "NUM_TOP_LOSSES", 6)
    replace(heatmap_examples, "MAX_MISTAKES", 1)
    replace(heatmap_examples, "MAX_CLASSES", 1)
    replace(FigureCanvasAgg, "draw", _clear)


def _clear(canvas: FigureCanvasAgg) -> None:
    if canvas.figure.patch.get_alpha() is None:  # else the pixels behind it determine its size
        canvas.figure.set_size_inches(1, 1)  # to compress white pixels takes long, too
    canvas.get_renderer().clear()
