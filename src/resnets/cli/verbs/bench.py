"""`resnets bench`."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnets.cli import output

if TYPE_CHECKING:
    from torch import Tensor

    from resnets.inference.benchmark import Row
    from resnets.models.resnet import ResNet

IMAGES = 32  # that the answers are compared on, or one batch if that is more
WIDTH = 79  # characters of a line, on every terminal and in a pipe
COLUMNS = (("images/s", 9), ("ref/s", 8), ("x ref", 6), ("spread", 12), ("ready s", 8), ("same", 7), ("moved", 7))
LEGEND = (
    "images/s: by the median time of a batch; ref/s: those of the reference in the same rounds; x ref: the first by the second; "
    "spread: its lowest and highest in one round. ready: seconds to make it ready. same: images with the reference's label. "
    "moved: largest change of a probability. --json has the times of a batch (p50, p95, p99)."
)
RANDOM = "The weights are random: only a trained checkpoint shows how far its answers move."
SEEN = 96  # side of the drawn images, before they are brought to the network's size


def bench(
    model: Annotated[
        str, typer.Argument(help="A checkpoint, a run folder, or a network of `resnets models`.", metavar="MODEL")
    ],
    backends: Annotated[str, typer.Option(help="Such as torch,compile,openvino.  [default: all that are here]")] = "",
    precision: Annotated[str, typer.Option(help="all, fp32 or bf16.")] = "all",
    batch: Annotated[str, typer.Option(help="Images that go through together; 1,16 measures both.")] = "16",
    imgsz: Annotated[int | None, typer.Option(help="Side in pixels.  [default: the model's own]")] = None,
    seconds: Annotated[float, typer.Option(help="Of measuring for each row; building the backend comes on top.")] = 3.0,
    threads: Annotated[int | None, typer.Option(help="Of the processor.  [default: all]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how fast a network is here, backend by backend, and how near the answers stay to the reference's.

    Example: resnets bench resnet50 --batch 1,16
    """
    import torch

    from resnets.errors import UserError
    from resnets.inference import benchmark as measure
    from resnets.inference import hardware
    from resnets.training import choose_device

    if threads is not None:
        torch.set_num_threads(threads)
    name = str(choose_device.select_device(device).value)
    sizes, precisions = _sizes(batch), _precisions(precision)
    names = measure.parse_backends(backends, torch.device(name))
    if precision == "bf16" and not names:
        raise UserError(f"`precision=bf16` has no effect with `backends={backends}`: the reference computes in fp32.")
    net, images, origin = _loaded(model, imgsz, max(IMAGES, *sizes), name)
    facts = {"model": model, "weights": origin, "imgsz": images.shape[-1], **hardware.describe(torch.device(name))}
    measured = itertools.chain.from_iterable(
        measure.measure(net, images, names=names, precisions=precisions, batch=size, seconds=seconds) for size in sizes
    )
    (_print_json if as_json else _print_table)(facts, measured)


def _sizes(text: str) -> list[int]:
    from resnets.errors import UserError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise UserError(f"`batch` is a number, or a list such as 1,16; received '{text}'.")
    return [int(word) for word in words]


def _precisions(word: str) -> list[str]:
    from resnets.errors import UserError, suggestion
    from resnets.inference.backends import PRECISIONS

    if word not in ("all", *PRECISIONS):
        raise UserError(f"`precision` is all, fp32 or bf16; received '{word}'.{suggestion(word, PRECISIONS)}")
    return list(PRECISIONS) if word == "all" else [word]


def _loaded(model: str, side: int | None, count: int, device: str) -> tuple[ResNet, Tensor, str]:
    """The network, images for it, and where its weights are from."""
    from pathlib import Path

    import torch

    from resnets.data.datasets import shapes
    from resnets.data.image.preprocess import Preprocess
    from resnets.errors import UserError
    from resnets.inference.benchmark import calibrate_batch_norms_
    from resnets.models import zoo
    from resnets.models.resnet import check_size
    from resnets.tasks.classification import load

    torch.manual_seed(0)
    random = model in zoo.entries() and not Path(model).exists()
    if random:
        entry = zoo.find(model)
        net, preprocess = zoo.create_model(model), Preprocess.imagenet(side or entry.imgsz)
    else:
        classifier = load.load(model, device=device, precision="fp32")
        net, preprocess = classifier.net, classifier.preprocess
        preprocess = preprocess.with_size(side) if side else preprocess
    drawn = shapes.make_settings(size=SEEN)
    images = torch.stack([preprocess(shapes.draw(index, drawn).pixels) for index in range(count)])
    try:
        check_size(images, net.min_size, net.fixed_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if random:
        net = calibrate_batch_norms_(net, images[:IMAGES].to(device))
    return net, images, "random" if random else model


def _print_table(facts: dict[str, Any], measured: Iterable[Row]) -> None:
    """A line for each row as soon as it is there; in the end, what to take."""
    from resnets.cli.argument_names import as_flags
    from resnets.inference.benchmark import recommend

    side, random = facts["imgsz"], facts["weights"] == "random"
    _echo(f"{facts['model']}{' with random weights' if random else ''}, images of {side}x{side}")
    _echo(f"{facts['device']}, {facts['threads']} threads")
    _echo(f"{'backend':<14}{'batch':>6}" + "".join(f"{name:>{width}}" for name, width in COLUMNS))
    rows: list[Row] = []
    try:
        for row in measured:
            rows.append(row)
            _echo(_line(row))
    finally:
        if rows:
            _echo(LEGEND)
            for sentence in recommend(rows):
                _echo(as_flags(sentence))
            if random:
                _echo(RANDOM)


def _line(row: Row) -> str:
    start = f"{row!s:<14}{row.batch:>6}"
    if row.agreement is None:
        return f"{start}  {row.failure}"
    choose_device, other = map(_digits, (row.images_per_second, row.reference_per_second))
    ratios = (f"{row.speedup:.2f}", "-".join(f"{end:.2f}" for end in row.spread))
    cells = (
        choose_device,
        other,
        *ratios,
        _digits(row.build_seconds),
        f"{row.agreement.same:.1%}",
        f"{row.agreement.probability:.4f}",
    )
    return start + "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def _digits(value: float) -> str:
    """With as many decimals as its size leaves room for."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _echo(text: str) -> None:
    """Lines of at most 79 characters, at once."""
    for line in [text] if len(text) <= WIDTH else textwrap.wrap(text, WIDTH, subsequent_indent="  "):
        output.tell(line)


def _print_json(facts: dict[str, Any], measured: Iterable[Row]) -> None:
    """One object, written piece by piece; it is whole, and says "complete": false, where the measurement was broken off."""
    from resnets.cli.argument_names import as_flags
    from resnets.inference.benchmark import recommend

    rows: list[Row] = []
    complete = False
    output.echo(json.dumps(facts, indent=2).removesuffix("\n}") + ',\n  "rows": [', end="")
    try:
        for row in measured:
            output.echo(",\n" if rows else "\n", end="")
            rows.append(row)
            output.echo(textwrap.indent(json.dumps(row.to_dict(), indent=2), "    "), end="")
        complete = True
    finally:
        end = {"complete": complete, "recommend": [as_flags(each) for each in recommend(rows)]}
        output.echo("\n  ],\n" + json.dumps(end, indent=2).removeprefix("{\n"))
