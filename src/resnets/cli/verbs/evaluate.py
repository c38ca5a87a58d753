"""`resnets evaluate`."""

import shlex
from functools import partial
from typing import Annotated, Any

from typer import Argument, Option

from resnets.cli import flags, output
from resnets.errors import UserError
from resnets.progress import log

images = partial(Option, rich_help_panel="Images")
method = partial(Option, rich_help_panel="Method")
machine = partial(Option, rich_help_panel="Machine")


def evaluate(
    checkpoints: Annotated[
        list[str],
        Argument(
            metavar="CHECKPOINT",
            help="Checkpoints, run directories, exported files; several are an ensemble: probabilities averaged, boxes fused.",
        ),
    ],
    data: Annotated[
        str,
        Argument(
            metavar="DATA",
            help="The last argument: a folder of class folders, shards, .csv, .jsonl, digits, digit-scenes or shapes.",
        ),
    ],
    split: Annotated[str | None, images(help="train, val, test or all.  [default: test, else val, else all]")] = None,
    split_file: Annotated[str | None, images(help="Split file.  [default: that of the checkpoint's run]")] = None,
    val_fraction: Annotated[
        float | None, images(help="Split the data again with this validation fraction, as in training.")
    ] = None,
    seed: Annotated[int | None, images(help="Random seed of --val-fraction.  [default: 123]")] = None,
    on_bad: Annotated[str, images(help="Unreadable images: error or skip.")] = "error",
    crops: Annotated[
        int, method(help="1, 10 (center and corners) or 6 (whole, moved by a pixel twice), also mirrored.")
    ] = 1,
    scales: Annotated[
        str,
        method(
            help="Average over whole images with these shorter sides, such as 224,256,384; longer sides for detectors."
        ),
    ] = "",
    flip: Annotated[bool, method("--flip", help="Detectors: also look at the mirror image.")] = False,
    tile: Annotated[
        int | None, method(help="Detectors: also look at overlapping squares of this side, in pixels of the image.")
    ] = None,
    tile_overlap: Annotated[float | None, method(help="Of two tiles, as a fraction.  [default: 0.2]")] = None,
    nms: Annotated[str, method(help="Detectors: overlapping boxes of a class, hard, soft or soft-linear.")] = "hard",
    compare: Annotated[bool, method("--compare", help="Compare two checkpoints by a paired test.")] = False,
    calibrate: Annotated[
        bool, method("--calibrate", help="Fit the temperature, or the thresholds, on val and store it.")
    ] = False,
    out: Annotated[str | None, Option(*flags.OUT_DIR, help="Folder for tables, figures and predictions.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of tables.")] = False,
    batch: Annotated[int, machine(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, machine(help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    device: Annotated[str, machine(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, machine(help="auto (the reference), torch, compile or openvino.")] = "auto",
    precision: Annotated[str, machine(help="auto (fp32; of an exported file, its own), fp32, bf16 or int8.")] = "auto",
) -> None:
    """Evaluate checkpoints on labeled images: metrics with 95 % intervals, as a whole and class by class.

    Example: resnets evaluate runs/flowers flower_photos
    """
    options: dict[str, Any] = dict(locals())  # all others have the names of those of `resnets.evaluate`
    for name in ("checkpoints", "data", "compare", "calibrate", "out", "as_json"):
        del options[name]
    from resnets.api import evaluate as api
    from resnets.tasks.evaluation import evaluation_table, write_evaluation
    from resnets.tasks.inputs.parse_scales import parse_scales

    if compare and len(checkpoints) != 2:
        raise UserError(f"--compare needs two checkpoints before the data; received {len(checkpoints)}.")
    if compare and calibrate:
        raise UserError("--calibrate fits one checkpoint, --compare needs two: leave one of them out.")
    if out is not None:
        write_evaluation.check_output(out)
    options["scales"] = parse_scales(scales)
    if compare:
        results = api.compare(checkpoints[0], checkpoints[1], data, **options)
    else:
        results = api.evaluate(checkpoints, data, calibrate=calibrate, **options)
    # Printed before it is written: with a full disk the result is not lost.
    if as_json:
        output.print_json(results.to_dict())
    else:
        evaluation_table.show(results)
    if out is not None:
        write_evaluation.write(results, out)
        log(f"wrote the tables, figures and predictions to {shlex.quote(out)}")
