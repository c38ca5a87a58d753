"""`resnets bench`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from resnets.cli import flags, output

if TYPE_CHECKING:
    from resnets.inference.benchmark import Row

WIDTH = 79  # characters of a line, on every terminal and in a pipe
COLUMNS = (("images/s", 9), ("ref/s", 8), ("x ref", 6), ("spread", 12), ("build s", 8), ("same", 7), ("diff", 7))
LEGEND = (
    "images/s: from the median time of a batch; ref/s: the same for the reference, in the same rounds; x ref: their ratio; "
    "spread: the lowest and the highest ratio of a round; build s: seconds to build the backend; same: images with the label of "
    "the reference; diff: largest difference of a probability, or of an object's score. --json has the percentiles of the time "
    "of a batch (p50, p95, p99)."
)
RANDOM = "The weights are random; measure a trained checkpoint to see how much its predictions differ."


def bench(
    model: Annotated[
        str,
        Argument(
            help="A checkpoint, a run directory, a network of `resnets models`, or an exported file.", metavar="MODEL"
        ),
    ],
    backends: Annotated[
        str, Option(help="List such as torch,compile,openvino.  [default: all that are installed]")
    ] = "",
    precision: Annotated[str, Option(help="all, fp32, bf16 or int8.")] = "all",
    batch: Annotated[str, Option(*flags.BATCH, help="Batch size, or a list such as 1,16.")] = "16",
    imgsz: Annotated[int | None, Option(*flags.IMGSZ, help="Image size in pixels.  [default: the model's own]")] = None,
    seconds: Annotated[float, Option(help="Seconds to measure each row, without building the backend.")] = 3.0,
    threads: Annotated[int | None, Option(help="Number of CPU threads.  [default: all]")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how fast a network is on this machine, backend by backend, and how much its outputs differ.

    Example: resnets bench resnet50 --batch 1,16
    """
    sizes = flags.parse_integers("batch", batch)
    import torch

    from resnets.api import bench as api

    if threads is not None:
        torch.set_num_threads(threads)
    names = [word.strip() for word in backends.split(",") if word.strip()]
    settings, rows = api.bench_rows(
        model, backends=names, precision=precision, batch=sizes, imgsz=imgsz, seconds=seconds, device=device
    )
    if as_json:
        result = api.BenchResult(settings, list(rows)).to_dict()
        output.print_json({**result, "advice": list(map(flags.as_flags, result["advice"]))})
    else:
        _print_table(settings, rows, _remarks(settings, names, precision))


def _remarks(settings: dict[str, Any], names: list[str], precision: str) -> list[str]:
    """What a table cannot show: a backend that was not measured, and bf16 that the processor does not have."""
    from resnets.inference.hardware import BF16_FLAGS

    on_cpu, features = str(settings["device"]).startswith("cpu"), set(settings["features"].split())
    remarks = []
    if on_cpu and not names and not settings["openvino"]:
        remarks.append("Not measured: openvino (pip install 'resnets[openvino]').")
    if on_cpu and features and not features & BF16_FLAGS and precision != "fp32":
        remarks.append("This processor has no native bf16: the rows with bf16 are emulated.")
    return remarks


def _print_table(settings: dict[str, Any], measured: Iterable[Row], remarks: Sequence[str] = ()) -> None:
    """Print a line for each row as soon as it is measured, and at the end which backend to use."""
    from resnets.inference.benchmark import REFERENCE, recommend

    (height, width), random = settings["size"], settings["weights"] == "random"
    _print(f"{settings['model']}{' with random weights' if random else ''}, images of {width}x{height}")
    _print(f"{settings['device']}, {settings['threads']} threads")
    _print(f"{'backend':<14}{'batch':>6}" + "".join(f"{name:>{width}}" for name, width in COLUMNS))
    rows: list[Row] = []
    try:
        for row in measured:
            rows.append(row)
            is_itself = rows[0].backend != REFERENCE and row.backend == rows[0].backend
            _print(_line(row, is_compared=not is_itself))
    finally:
        if rows:
            _print(LEGEND)
            if rows[0].backend != REFERENCE:
                _print(
                    f"The reference is the file itself in {rows[0]}. Its certificate compares it with its checkpoint."
                )
            for sentence in recommend(rows):
                _print(flags.as_flags(sentence))
            for remark in (*remarks, *([RANDOM] if random else [])):
                _print(remark)


def _line(row: Row, *, is_compared: bool) -> str:
    """A row of the table; `is_compared` is whether its outputs are compared with others than its own."""
    start = f"{row!s:<14}{row.batch:>6}"
    if row.agreement is None:
        return f"{start}  {row.failure}"
    speed, reference = map(_digits, (row.images_per_second, row.reference_per_second))
    ratios = (f"{row.speedup:.2f}", "-".join(f"{end:.2f}" for end in row.spread))
    cells = (
        speed,
        reference,
        *ratios,
        _digits(row.build_seconds),
        f"{row.agreement.details['same']:.1%}" if is_compared and "same" in row.agreement.details else "-",
        f"{row.agreement.difference:.4f}" if is_compared else "-",
    )
    return start + "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def _digits(value: float) -> str:
    """With fewer decimals the larger it is."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _print(text: str) -> None:
    """Print lines of at most 79 characters."""
    for line in [text] if len(text) <= WIDTH else textwrap.wrap(text, WIDTH, subsequent_indent="  "):
        output.print_line(line)
