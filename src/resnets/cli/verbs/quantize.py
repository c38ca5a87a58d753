"""`resnets quantize`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output


def quantize(
    checkpoint: Annotated[
        str, Argument(help="A checkpoint of a classifier, or a run directory.", metavar="CHECKPOINT")
    ],
    images: Annotated[str, Argument(help="Labeled images, as for evaluate.", metavar="IMAGES")],
    validation: Annotated[
        str | None, Option(help="Other labeled images to measure the loss on.  [default: test, else val, of IMAGES]")
    ] = None,
    to: Annotated[str, Option("--format", help="openvino (a folder) or onnx.")] = "openvino",
    max_drop: Annotated[float, Option(help="Largest loss of top-1 accuracy, in points.")] = 0.5,
    min_gain: Annotated[float, Option(help="Smallest ratio of the speeds, int8 to the backend without it.")] = 1.2,
    count: Annotated[int, Option(help="Number of images that set the ranges of the numbers.")] = 300,
    seed: Annotated[int, Option(help="Random seed of their choice.")] = 0,
    out: Annotated[
        str | None, Option(*flags.OUT_DIR, help="File or folder to write.  [default: beside the checkpoint]")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Write a classifier in int8, and prove on images how much accuracy that loses. `--precision int8` takes what passed.

    What does not pass is kept as .refused, and the exit code is then 1.

    Example: resnets quantize runs/flowers flower_photos
    """
    from resnets.api import quantize as api

    result = api.quantize(
        checkpoint, images, validation=validation, format=to, max_drop=max_drop, min_gain=min_gain, count=count, seed=seed,
        out=out,
    )  # fmt: skip
    if as_json:
        output.print_json(result.to_dict())
    else:
        for line in result.lines():
            output.print_line(line)
    result.check_passed()
