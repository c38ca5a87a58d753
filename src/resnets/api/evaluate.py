"""`resnets.evaluate` and `resnets.compare`: how good trained models are on labeled images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.tasks.evaluation import evaluate as evaluation
from resnets.tasks.evaluation import write_evaluation
from resnets.tasks.evaluation.results import Evaluation

_TASK_OPTIONS: Mapping[str, Any] = {  # and their defaults
    "crops": 1, "scales": (), "flip": False, "tile": None, "tile_overlap": None, "nms": "hard",
}  # fmt: skip


def evaluate(
    checkpoints: str | Path | Sequence[str | Path],
    data: str | Path,
    *,
    split: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    on_bad: str = "error",
    crops: int = 1,
    scales: Sequence[int] = (),
    flip: bool = False,
    tile: int | None = None,
    tile_overlap: float | None = None,
    nms: str = "hard",
    calibrate: bool = False,
    out: str | Path | None = None,
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
) -> Evaluation:
    """Evaluate a checkpoint on labeled images, with 95 % intervals, as a whole and class by class.

    Args:
        checkpoints: a checkpoint or run directory; a sequence of them is evaluated as an ensemble.
        data: a folder of class folders, a .csv or .jsonl file, shards, "digits", "digit-scenes" or "shapes".
        split: "train", "val", "test" or "all"; None for test, else val, else all.
        split_file: a file that `resnets.split` wrote; None for the split of the checkpoint's run.
        val_fraction: instead, split the images again with this validation fraction and `seed`, as in training.
        seed: of the split by `val_fraction`; None for 123.
        on_bad: "error", or "skip" to leave out images that cannot be read.
        crops: 1, or 10 to average over the center and the corners, each with its mirror image, or 6 over the whole input and
            two that are moved by a pixel.
        scales: or average over whole images with shorter sides of these lengths in pixels. For a detector: unite what is found in
            images with longer sides of these lengths.
        flip: for a detector: look at the mirror image, too.
        tile: for a detector: look at overlapping squares of this side in pixels of the image, too.
        tile_overlap: of two tiles, as a fraction of `tile`; None for 0.2.
        nms: how a detector suppresses overlapping boxes of a class: "hard", "soft" or "soft-linear".
        calibrate: fit the temperature of the checkpoint to these images and store it in the file.
        out: a folder for tables, figures, predictions and a report.
        batch: number of images that go through the network together.
        workers: number of threads that read images; None for one per processor.
        device: as in `resnets.load`.
        backend: "auto" (the reference), "torch", "compile" or "openvino".
        precision: "auto" (fp32, or that of an exported file), "fp32", "bf16" or "int8", the file
            that `resnets.quantize` wrote beside the checkpoint.

    Returns:
        The results: `.metrics` has `top1`, `top1_interval`, `ece` and others; `.to_dict()` is what `--json` prints.

    Raises:
        UserError: a file does not exist, an argument does not fit the rest, or `out` cannot be written to.
        JobError: images cannot be read, or the disk is full.
    """
    arguments = dict(locals())
    paths = [checkpoints] if isinstance(checkpoints, (str, Path)) else list(checkpoints)
    return _evaluate(paths, arguments, calibrate=calibrate)


def compare(
    a: str | Path,
    b: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    split_file: str | Path | None = None,
    val_fraction: float | None = None,
    seed: int | None = None,
    on_bad: str = "error",
    crops: int = 1,
    scales: Sequence[int] = (),
    flip: bool = False,
    tile: int | None = None,
    tile_overlap: float | None = None,
    nms: str = "hard",
    out: str | Path | None = None,
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
) -> Evaluation:
    """Compare two checkpoints on the same labeled images: which is better, and whether that may be chance.

    Args:
        a, b: checkpoints or run directories.
        data, ...: as in `evaluate`. Without `split`, `split_file` and `val_fraction`, images of a dataset that has no splits are
            those that neither model was trained on.

    Returns:
        The results of both models. `.comparison` has the difference in top-1 with its 95 % interval, the p-value of
        McNemar's exact test, `.better` ("a", "b" or None) and, by `.in_words()`, a sentence.

    Raises:
        UserError: as `evaluate`; or one of the models was trained on each of the images.
        JobError: as `evaluate`.
    """
    return _evaluate([a, b], locals(), pairwise=True)


def _evaluate(paths: Sequence[str | Path], arguments: Mapping[str, Any], **kind: Any) -> Evaluation:
    """Evaluate with the arguments that both functions have, by name; those of tasks where they are not the defaults."""
    out = arguments["out"]
    if out is not None:
        write_evaluation.check_output(out)
    names = (
        "split",
        "split_file",
        "val_fraction",
        "seed",
        "on_bad",
        "batch",
        "workers",
        "device",
        "backend",
        "precision",
    )
    given = {name: arguments[name] for name in names}
    given |= {name: arguments[name] for name, default in _TASK_OPTIONS.items() if arguments[name] not in (default, [])}
    results = evaluation.evaluate_checkpoints(paths, arguments["data"], **given, **kind)
    if out is not None:
        write_evaluation.write(results, out)
    return results
