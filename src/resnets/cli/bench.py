"""`resnets bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from resnets.engine.bench import Row
    from resnets.models.resnet import ResNet

PICTURES = 32  # that the answers are compared on, or one batch if that is more
PLAIN_WIDTH = 130  # characters, where stdout is no terminal
SEEN = 96  # side of the drawn pictures, before they are brought to the network's size


def bench(
    model: Annotated[
        str, typer.Argument(help="A checkpoint, a run folder, or a network of `resnets models`.", metavar="MODEL")
    ],
    engines: Annotated[str, typer.Option(help="Such as torch,compile,openvino.  [default: all that are here]")] = "",
    precision: Annotated[str, typer.Option(help="all, fp32 or bf16.")] = "all",
    batch: Annotated[str, typer.Option(help="Pictures that go through together; 1,16 measures both.")] = "16",
    imgsz: Annotated[int | None, typer.Option(help="Side in pixels.  [default: the model's own]")] = None,
    seconds: Annotated[float, typer.Option(help="For each row; 20 batches are run in any case.")] = 3.0,
    threads: Annotated[int | None, typer.Option(help="Of the processor.  [default: all]")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how fast a network is here, engine by engine, what it needs in memory, and how near the answers stay.

    Example: resnets bench resnet50 --batch 1,16
    """
    import json

    import torch

    from resnets.engine import bench as measure
    from resnets.engine import machine
    from resnets.training import speed

    if threads is not None:
        torch.set_num_threads(threads)
    name = str(speed.device(device).value)
    sizes, precisions = _sizes(batch), _precisions(precision)
    wanted = measure.names(engines, torch.device(name))
    net, pictures, origin = _loaded(model, imgsz, max(PICTURES, *sizes), name)
    rows: list[Row] = []
    for size in sizes:
        rows += measure.run(net, pictures, wanted=wanted, precisions=precisions, batch=size, seconds=seconds)
    side = pictures.shape[-1]
    facts = {"model": model, "weights": origin, "imgsz": side, **machine.identity(torch.device(name))}
    if as_json:
        typer.echo(json.dumps({**facts, "rows": [row.to_dict() for row in rows]}, indent=2))
    else:
        _show(facts, rows)


def _sizes(text: str) -> list[int]:
    from resnets.errors import UserError

    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise UserError(f"--batch is a number, or a list such as 1,16; received '{text}'.")
    return [int(word) for word in words]


def _precisions(word: str) -> list[str]:
    from resnets.engine.engines import PRECISIONS
    from resnets.errors import UserError, suggestion

    if word not in ("all", *PRECISIONS):
        raise UserError(f"--precision is all, fp32 or bf16; received '{word}'.{suggestion(word, PRECISIONS)}")
    return list(PRECISIONS) if word == "all" else [word]


def _loaded(model: str, side: int | None, count: int, device: str) -> tuple[ResNet, Tensor, str]:
    """The network, pictures for it, and where its weights are from."""
    from pathlib import Path

    import torch

    from resnets.data import shapes
    from resnets.data.preprocess import Preprocess
    from resnets.engine.bench import settle
    from resnets.errors import UserError
    from resnets.models import zoo
    from resnets.models.resnet import check_side
    from resnets.tasks import classify

    torch.manual_seed(0)
    random = model in zoo.entries() and not Path(model).exists()
    if random:
        entry = zoo.find(model)
        net, preprocess = zoo.create(model), Preprocess.imagenet(side or entry.imgsz)
    else:
        classifier = classify.load(model, device=device, precision="fp32")
        net, preprocess = classifier.net, classifier.preprocess
        preprocess = preprocess.at(side) if side else preprocess
    drawn = shapes.settings(size=SEEN)
    pictures = torch.stack([preprocess(shapes.draw(index, drawn).pixels) for index in range(count)])
    try:
        check_side(pictures, net.min_side, net.only_side)
    except ValueError as error:
        raise UserError(str(error)) from error
    net = net.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if random:
        net = settle(net, pictures[:PICTURES].to(device))
    return net, pictures, "random" if random else model


def _show(facts: dict[str, Any], rows: list[Row]) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    side, weights = facts["imgsz"], " with random weights" if facts["weights"] == "random" else ""
    table = Table(
        title=f"{facts['model']}{weights}, pictures of {side}x{side}, {facts['device']}, {facts['threads']} threads"
    )
    for heading in ("engine", "batch", "pictures/s", "p50 ms", "p95 ms", "p99 ms", "MiB", "ready in s", "same label",
                    "logits within", "probabilities within"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for row in rows:
        if row.agreement is None:
            table.add_row(f"{row.engine} {row.precision}", str(row.batch), "-")
            continue
        times = [f"{value:.1f}" for value in (row.pictures_per_second, row.p50_ms, row.p95_ms, row.p99_ms)]
        memory = "-" if row.memory_mib is None else f"{row.memory_mib:,.0f}"
        near = [f"{row.agreement.same:.1%}", f"{row.agreement.logit:.4f}", f"{row.agreement.probability:.4f}"]
        table.add_row(
            f"{row.engine} {row.precision}", str(row.batch), *times, memory, f"{row.build_seconds:.1f}", *near
        )
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
    console.print(table)
