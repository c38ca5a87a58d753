"""How fast each backend is here, and how near its answers are to the reference's.

One backend after the other, so that each row is there soon; the reference takes turns with each, so that whatever else the
machine does meets both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference import backends
from resnets.inference.backends import Backend
from resnets.inference.choose_backend import TOLERANCE, Agreement, agreement
from resnets.inference.fold_batchnorm import classify
from resnets.models.resnet import ResNet
from resnets.progress import log, progress_bar

REFERENCE = "reference"
ROUNDS = 5  # in each at least one batch of the backend and one of the reference, however long they take
SLOW = {"compile": " (compiling takes a minute or so)"}
GAIN = 1.1  # a backend is advised from this multiple of the reference's speed on


@dataclass(frozen=True)
class Row:
    """One backend at one batch size.

    Attributes:
        images_per_second: by the median time of a batch.
        reference_per_second: images of the reference per second, by its batches of the same rounds.
        times_reference: the first by the second.
        spread: the lowest and the highest of this ratio in one round.
        p50_ms, p95_ms, p99_ms: how long a batch takes; p50 is the median over the rounds of the median of a round.
        runs: batches that were timed.
        memory_mib: the highest that the GPU's memory rose above what it held before the backend was made. None on the CPU:
            a process that keeps freed memory for the next backend shows only what the first one needed.
        agreement: with the reference, on the images of the measurement.
        failure: why there are no figures.
    """

    backend: str
    precision: str
    batch: int
    build_seconds: float = 0.0
    images_per_second: float = 0.0
    reference_per_second: float = 0.0
    times_reference: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    runs: int = 0
    memory_mib: float | None = None
    agreement: Agreement | None = None
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def near(self) -> bool:
        """Whether it was measured, and gives the answers of the reference."""
        return self.agreement is not None and self.agreement.probability <= TOLERANCE[self.precision]


def names(text: str, device: torch.device) -> list[str]:
    """The backends of `torch,openvino`; all that are here for an empty text.

    Raises:
        UserError: one that is unknown or not to be had here.
    """
    words = [word.strip() for word in text.split(",") if word.strip()] or list(backends.available(device))
    for word in words:
        if word != REFERENCE:
            backends.check(word, device)
    return list(dict.fromkeys(word for word in words if word != REFERENCE))


def rows(
    net: ResNet, images: Tensor, *, wanted: Sequence[str], precisions: Sequence[str], batch: int, seconds: float
) -> Iterator[Row]:
    """Measure the reference and each of `wanted` in each of `precisions`; each row comes when it is measured.

    Args:
        net: in eval mode.
        images: float32 (n, C, h, w), n >= batch; all of them are compared.
        seconds: of measuring for each row, half as much again for the reference in between; five batches of both are run in
            any case. Making a backend ready comes on top.

    Raises:
        UserError: there are not enough images for a batch.
    """
    if batch < 1 or batch > len(images):
        raise UserError(f"`batch` must be 1 to {len(images)}; received {batch}.")
    cases = [(REFERENCE, "fp32"), *((name, precision) for name in wanted for precision in precisions)]
    reference: _Measured | None = None
    logits = torch.empty(0)
    for number, (name, precision) in enumerate(cases, start=1):
        log(f"{number} of {len(cases)}: {name} {precision}, batch {batch}: making it ready{SLOW.get(name, '')} ...")
        measured = _Measured(net, name, precision, images, batch)
        against: list[float] = []  # the reference in the same rounds: whatever else the machine does meets both
        if measured.backend is not None:
            what = f"{name} {precision}, batch {batch}"
            for _ in progress_bar(range(ROUNDS), description=what, total=ROUNDS, unit="rounds"):
                measured.round(seconds / ROUNDS)
                if reference is not None:
                    against.append(reference.round(seconds / ROUNDS / 2))
        if reference is None:
            reference, logits = measured, measured.logits()
        yield measured.row(logits, against or measured.rounds)


def advice(rows: Sequence[Row]) -> list[str]:
    """What to take, in a sentence for each batch size."""
    return [_advice([row for row in rows if row.batch == batch]) for batch in dict.fromkeys(row.batch for row in rows)]


def _advice(rows: Sequence[Row]) -> str:
    """Of the rows of one batch size."""
    others = [row for row in rows if row.backend != REFERENCE and row.agreement is not None]
    near = [row for row in others if row.near and row.times_reference >= GAIN]
    sure = [row for row in near if row.spread[0] > 1]
    best = max(sure or near, key=lambda row: row.times_reference, default=None)
    gain = best.times_reference if sure and best else 1.0
    if best is None:
        text = "stay with the reference, nothing else was a tenth faster with its answers"
    elif not sure:
        text = f"nothing was faster than the reference beyond the spread of the rounds ({_ratio(best)} is the most): stay with "
        text += "it, or measure again with more `seconds` while nothing else runs"
    else:
        text = f"take {_ratio(best)} the reference (`backend={best.backend}` `precision={best.precision}`)"
        if alike := [f"{row}" for row in near if row is not best and row.spread[1] >= best.spread[0]]:
            text += f"; no worse within the spread: {', '.join(alike)}"
    moved = max((row for row in others if not row.near), key=lambda row: row.times_reference, default=None)
    if moved is not None and moved.agreement is not None and moved.times_reference > GAIN * gain:
        text += f"; {moved} is faster ({moved.times_reference:.1f} times), but moves a probability by up to "
        text += f"{moved.agreement.probability:.3f}"
    return f"Batch {rows[0].batch}: {text}."


def _ratio(row: Row) -> str:
    low, high = row.spread
    return f"{row}: {row.times_reference:.1f} [{low:.1f}, {high:.1f}] times"


class _Measured:
    """A backend and the times of its batches."""

    def __init__(self, net: ResNet, name: str, precision: str, images: Tensor, batch: int) -> None:
        self.net, self.name, self.precision, self.images, self.batch = net, name, precision, images, batch
        self.times: list[float] = []
        self.rounds: list[float] = []  # the median time of each
        self.backend: Backend | None = None
        self.failure = ""
        self.build_seconds = 0.0
        device = next(net.parameters()).device
        before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        start = time.perf_counter()
        try:
            shape = (batch, *images.shape[1:])
            self.backend = backends.reference(net) if name == REFERENCE else backends.build(name, net, precision, shape)
            self.build_seconds = time.perf_counter() - start
            self.once()  # the first run sets things up
        except Exception as error:  # whatever a compiler may say: the others are still measured
            if name == REFERENCE:
                raise
            self.failure = next(
                (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
            )
            self.backend = None
            log(f"{name} {precision} cannot compute this network: {self.failure}")
        peak = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None
        self.memory_mib = None if peak is None else peak / 2**20

    def once(self) -> float:
        """Seconds that a batch takes."""
        assert self.backend is not None
        part = self.images[: self.batch]
        start = time.perf_counter()
        pooled = self.backend(part)
        with torch.inference_mode():
            classify(self.net.head, pooled).cpu()  # waits for a GPU
        return time.perf_counter() - start

    def round(self, seconds: float) -> float:
        """The median time of a batch over so many seconds, at least one batch."""
        times = [self.once()]
        while sum(times) < seconds:
            times.append(self.once())
        self.times += times
        self.rounds.append(float(np.median(times)))
        return self.rounds[-1]

    def logits(self) -> Tensor:
        assert self.backend is not None
        with torch.inference_mode():
            parts = [classify(self.net.head, self.backend(part)) for part in self.images.split(self.batch)]
            return torch.cat(parts).float().cpu()

    def row(self, wanted: Tensor, against: Sequence[float]) -> Row:
        if self.backend is None:
            return Row(self.name, self.precision, self.batch, failure=self.failure)
        middle, other = float(np.median(self.rounds)), float(np.median(against))
        ratios = [theirs / own for own, theirs in zip(self.rounds, against, strict=True)]
        p95, p99 = (float(each) * 1000 for each in np.percentile(self.times, [95, 99]))
        return Row(
            self.name,
            self.precision,
            self.batch,
            build_seconds=self.build_seconds,
            images_per_second=self.batch / middle,
            reference_per_second=self.batch / other,
            times_reference=other / middle,
            spread=(min(ratios), max(ratios)),
            p50_ms=middle * 1000,
            p95_ms=p95,
            p99_ms=p99,
            runs=len(self.times),
            memory_mib=self.memory_mib,
            agreement=agreement(self.logits(), wanted),
        )


@torch.no_grad()
def settle(net: ResNet, images: Tensor) -> ResNet:
    """A network with random weights as a trained one is: its norms hold the statistics of `images`.

    Without this, the maps of a deep network grow from block to block, and no answers could be compared.
    """
    moments = {}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            moments[module] = module.momentum
            module.momentum = None  # the mean over all batches, here of one
            module.reset_running_stats()
    net.train()(images)
    for module, momentum in moments.items():
        module.momentum = momentum
    return net.eval()
