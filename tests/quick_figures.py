"""Figures of runs stay white and small, and their grids hold few images: drawing takes longer than a tiny training."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from resnets import atomic_write
from resnets.report.figures import confusion_matrix, image_grid, training_curves
from resnets.tasks.classification.report import heatmap_examples, prediction_images, reliability_diagram


def leave_white(replace: Callable[[object, str, object], None] = setattr) -> None:
    replace(image_grid, "MAX_IMAGES", 6)
    replace(prediction_images, "NUM_TOP_LOSSES", 6)
    replace(heatmap_examples, "MAX_MISTAKES", 1)
    replace(heatmap_examples, "MAX_CLASSES", 1)
    replace(FigureCanvasAgg, "draw", _clear)


def leave_out(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Nothing is put into most figures either, where trainings are tested and not their reports."""
    for module in (confusion_matrix, image_grid, reliability_diagram, training_curves):
        replace(module, "draw", _write_white)


def _clear(canvas: FigureCanvasAgg) -> None:
    if canvas.figure.patch.get_alpha() is None:  # else the pixels behind it determine its size
        canvas.figure.set_size_inches(1, 1)  # to compress white pixels takes long, too
    canvas.get_renderer().clear()


def _write_white(*arguments: object, **_: object) -> Path:
    out = next(each for each in arguments if isinstance(each, Path))
    with atomic_write.replace_file(out) as temporary:
        Image.new("RGB", (32, 32), "white").save(temporary)
    return out
