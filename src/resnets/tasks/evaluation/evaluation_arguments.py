"""A check of the arguments of an evaluation: checkpoints first, images last."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from resnets.data.datasets import open_dataset
from resnets.errors import UserError
from resnets.weights import local_file


def check_order(checkpoints: Sequence[str | Path], data: str) -> None:
    """Raise UserError for images where checkpoints are expected, and for a checkpoint where images are expected."""
    images = [
        str(path) for path in checkpoints if not local_file.is_weights(path) and open_dataset.contains_images(path)
    ]
    swapped = local_file.is_weights(data)
    files = [str(path) for path in checkpoints if str(path) not in images] + [data] * swapped
    shown = " ".join(map(shlex.quote, files)) or "CHECKPOINT"
    if not images and swapped:
        raise UserError(f"'{data}' has weights, not images. Put the images last: resnets evaluate {shown} DATA")
    if images and swapped:
        first = shlex.quote(images[0])
        raise UserError(
            f"The images come last: resnets evaluate {shown} {first}; received '{images[0]}' before '{data}'."
        )
    if images:
        raise UserError(
            f"'{images[0]}' is a folder of images, and so is the last argument '{data}'. Checkpoints are evaluated on one "
            f"dataset at a time: resnets evaluate {shown} {shlex.quote(images[0])}"
        )
