"""`resnets.quantize`: a classifier in int8, with a proof of what that loses."""

from pathlib import Path

from resnets.export.quantization import quantize as quantization
from resnets.export.quantization.quantize import QuantizeResult


def quantize(
    checkpoint: str | Path,
    images: str | Path,
    *,
    validation: str | Path | None = None,
    format: str = "openvino",
    max_drop: float = 0.5,
    min_gain: float = 1.2,
    count: int = 300,
    seed: int = 0,
    out: str | Path | None = None,
) -> QuantizeResult:
    """Write a classifier with weights and feature maps of 8 bits (int8), and prove on images how much accuracy that loses.

    The file passes if the upper end of the 95 % interval of the loss is at most `max_drop` points and, on this machine, it is at
    least `min_gain` times as fast as the backend that would be chosen otherwise. What does not pass has `.refused` at the end of
    its name. A JSON file beside it has all results. `resnets.load(checkpoint, precision="int8")` takes the file that passed.

    Args:
        checkpoint: a checkpoint of a classifier or a run directory.
        images: a labeled dataset, as for `resnets.evaluate`: images of train set the ranges of the numbers, and the loss is
            measured on test, else on val.
        validation: another dataset on which the loss is measured.
        format: "openvino" (a folder, the fastest on x86) or "onnx" (one file, for other runtimes and processors, too).
        max_drop: the largest loss of top-1 accuracy in percentage points.
        min_gain: the smallest number of images per second in int8, divided by that of the backend that is chosen otherwise.
        count: number of images that set the ranges, the same number of each class.
        seed: of their choice.
        out: the file or folder to write; None for the one beside the checkpoint that `precision="int8"` takes.

    Returns:
        The result: `.path`, `.verdict`, `.loss`, `.gain`; `.to_dict()` is what the command prints as JSON. Nothing is raised
        for a file that did not pass: see `.verdict.passed`, or call `.check_passed()`, which raises JobError.

    Raises:
        UserError: it is no trained classifier, there are no images for one of the two purposes, a package is not installed, an
            argument is out of range, or `out` cannot be written to.
        JobError: images cannot be read, or the disk is full.
    """
    return quantization.quantize(
        checkpoint, images, validation=validation, to=format, max_drop=max_drop, min_gain=min_gain, count=count, seed=seed,
        out=out,
    )  # fmt: skip
