"""Benchmark of the backends: images per second, and how close each is to the reference.

The backends are measured one after the other, so that rows appear early. The reference is measured in turn with each of them,
so that other load on the machine affects both.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.inference import backends
from resnets.inference.backends import Backend
from resnets.inference.static_graph import Agreement, StaticGraph, concatenate
from resnets.nested_tensors import map_tensors
from resnets.progress import log, progress_bar

REFERENCE = "reference"
ROUNDS = 5  # of measuring; each has at least one batch of the backend and one of the reference
BUILD_NOTES = {"compile": " (compiling takes a minute or so)"}
MIN_SPEEDUP = 1.1  # from which a backend is recommended
MAX_SPREAD = 2.0  # highest by lowest speedup of a round, beyond which a measurement decides nothing
AGAIN = "measure again with more `seconds` while nothing else runs"

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Row:
    """One backend at one batch size.

    Attributes:
        build_seconds: time to build the backend.
        images_per_second: from the median time of a batch.
        reference_per_second: images per second of the reference in the same rounds.
        speedup: `images_per_second` divided by `reference_per_second`.
        spread: the lowest and the highest speedup of a round.
        p50_ms, p95_ms, p99_ms: percentiles of the time of a batch; p50 is the median of the rounds' medians.
        runs: number of batches that were timed.
        memory_mib: the peak of the GPU's memory above what was allocated before the backend was built. None on the CPU, where
            a process keeps freed memory for the next backend, so that only the first one would be measured.
        agreement: with the reference, on the images of the measurement; None if the backend failed.
        is_close: whether the backend was measured and is within the tolerance of the reference.
        failure: why there are no figures; empty if there are.
    """

    backend: str
    precision: str
    batch: int
    build_seconds: float = 0.0
    images_per_second: float = 0.0
    reference_per_second: float = 0.0
    speedup: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    runs: int = 0
    memory_mib: float | None = None
    agreement: Agreement | None = None
    is_close: bool = False
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        del values["is_close"]
        if self.agreement is not None:
            values["agreement"] = {"images": self.agreement.images, **self.agreement.details}
        return values


def parse_backends(text: str, device: torch.device) -> list[str]:
    """The names in a list such as "torch,openvino"; all available backends for an empty text.

    Raises:
        UserError: a backend is unknown or not available here.
    """
    names = [name.strip() for name in text.split(",") if name.strip()] or list(backends.available(device))
    names = [name for name in dict.fromkeys(names) if name != REFERENCE]
    for name in names:
        backends.check(name, device)
    return names


def measure(
    graph: StaticGraph, images: Tensor, *, names: Sequence[str], precisions: Sequence[str], batch: int, seconds: float
) -> Iterator[Row]:
    """Measure the reference and each backend of `names` in each of `precisions`, and yield a row after each measurement.

    Args:
        graph: of a model in eval mode.
        images: float32 (n, C, h, w), n >= batch; all of them are compared with the reference.
        seconds: time of measuring for each row, and half as much again for the reference. At least five batches of each are
            run. Building a backend takes additional time.

    Returns:
        A row for the reference, then one for each backend and precision.

    Raises:
        UserError: there are not enough images for a batch.
    """
    if batch < 1 or batch > len(images):
        raise UserError(f"`batch` must be 1 to {len(images)}; received {batch}.")
    cases = [(REFERENCE, "fp32"), *((name, precision) for name in names for precision in precisions)]
    reference: _Measurement | None = None
    outputs: Any = None  # of the reference
    for number, (name, precision) in enumerate(cases, start=1):
        log(f"{number} of {len(cases)}: {name} {precision}, batch {batch}: building{BUILD_NOTES.get(name, '')} ...")
        measured = _Measurement(graph, name, precision, images, batch)
        reference_times: list[float] = []  # in the same rounds
        if measured.backend is not None:
            description = f"{name} {precision}, batch {batch}"
            for _ in progress_bar(range(ROUNDS), description=description, total=ROUNDS, unit="rounds"):
                measured.round(seconds / ROUNDS)
                if reference is not None:
                    reference_times.append(reference.round(seconds / ROUNDS / 2))
        if reference is None:
            reference, outputs = measured, measured.outputs()
        yield measured.row(outputs, reference_times or measured.rounds)


def time_calls(call: Callable[[], object], seconds: float) -> list[float]:
    """Call for `seconds`, at least once; the time of each call in seconds."""
    times: list[float] = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def recommend(rows: Sequence[Row]) -> list[str]:
    """Which backend to use, in a sentence for each batch size."""
    sizes = dict.fromkeys(row.batch for row in rows)
    return [_recommend([row for row in rows if row.batch == batch]) for batch in sizes]


def _recommend(rows: Sequence[Row]) -> str:
    """The sentence for the rows of one batch size."""
    others = [row for row in rows if row.backend != REFERENCE and row.agreement is not None]
    near = [row for row in others if row.is_close and row.speedup >= MIN_SPEEDUP]
    certain = [row for row in near if row.spread[0] > 1]
    best = max(certain or near, key=lambda row: row.speedup, default=None)
    gain = best.speedup if certain and best else 1.0
    if best is None:
        text = "use the reference: no backend was a tenth faster and close to it"
    elif not certain:
        text = f"use the reference: nothing was faster beyond the spread of the rounds (at most {_ratio(best)}); or {AGAIN}"
    elif equal := [row for row in near if row is not best and row.spread[1] >= best.spread[0]]:
        rows_in_words = ", ".join(map(_ratio, (best, *equal)))
        text = f"no clear winner, the ranges of the rounds overlap ({rows_in_words} the reference): use any of them, or {AGAIN}"
    elif best.spread[1] > MAX_SPREAD * best.spread[0]:
        text = f"no clear result, the rounds differ widely ({_ratio(best)} the reference): {AGAIN}"
    else:
        text = f"use {_ratio(best)} the reference (`backend={best.backend}` `precision={best.precision}`){_pays_from(best)}"
    inexact = max((row for row in others if not row.is_close), key=lambda row: row.speedup, default=None)
    if inexact is not None and inexact.agreement is not None and inexact.speedup > MIN_SPEEDUP * gain:
        change = f"changes {inexact.agreement.quantity} by up to {inexact.agreement.difference:.3f}"
        text += f"; {inexact} is faster ({inexact.speedup:.1f} times), but {change}"
    return f"Batch {rows[0].batch}: {text}."


def _pays_from(row: Row) -> str:
    """From how many images on the time to build the backend is made up for; empty where it is less than a second."""
    if row.build_seconds < 1 or row.images_per_second <= row.reference_per_second or row.reference_per_second <= 0:
        return ""
    saved = 1 / row.reference_per_second - 1 / row.images_per_second  # seconds for each image
    count = float(f"{row.build_seconds / saved:.2g}")
    return f", from about {count:,.0f} images on, since it takes {row.build_seconds:.0f} s to build"


def _ratio(row: Row) -> str:
    low, high = row.spread
    return f"{row}: {row.speedup:.1f} [{low:.1f}, {high:.1f}] times"


class _Measurement:
    """A backend and the times of its batches."""

    def __init__(self, graph: StaticGraph, name: str, precision: str, images: Tensor, batch: int) -> None:
        self.graph, self.name, self.precision, self.images, self.batch = graph, name, precision, images, batch
        self.times: list[float] = []
        self.rounds: list[float] = []  # the median time of each
        self.backend: Backend | None = None
        self.failure = ""
        self.build_seconds = 0.0
        device = next(graph.model.parameters()).device
        before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        start = time.perf_counter()
        try:
            if name == REFERENCE:
                self.backend = backends.reference(graph)
            else:
                self.backend = backends.build(name, graph, precision, (batch, *images.shape[1:]))
            self.build_seconds = time.perf_counter() - start
            self.once()  # the first run initializes the backend
        except Exception as error:  # of any type: the others are still measured
            if name == REFERENCE:
                raise
            lines = (line.strip() for line in str(error).splitlines() if line.strip())
            self.failure = next(lines, type(error).__name__)
            self.backend = None
            log(f"{name} {precision} cannot compute this network: {self.failure}")
        peak = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None
        self.memory_mib = None if peak is None else peak / 2**20

    def once(self) -> None:
        """Compute one batch."""
        assert self.backend is not None
        map_tensors(self.backend(self.images[: self.batch]), Tensor, Tensor.cpu)  # waits for a GPU

    def round(self, seconds: float) -> float:
        """Compute batches for `seconds`, at least one; the median time of a batch in seconds."""
        times = time_calls(self.once, seconds)
        self.times += times
        self.rounds.append(float(np.median(times)))
        return self.rounds[-1]

    def outputs(self) -> Any:
        assert self.backend is not None
        return concatenate([self.backend(chunk) for chunk in self.images.split(self.batch)])

    @torch.inference_mode()
    def row(self, reference_outputs: Any, reference_times: Sequence[float]) -> Row:
        if self.backend is None:
            return Row(self.name, self.precision, self.batch, failure=self.failure)
        median, reference_median = float(np.median(self.rounds)), float(np.median(reference_times))
        ratios = [reference / own for own, reference in zip(self.rounds, reference_times, strict=True)]
        agreement = self.graph.compare(self.outputs(), reference_outputs)
        p95, p99 = (float(seconds) * 1000 for seconds in np.percentile(self.times, [95, 99]))
        return Row(
            self.name,
            self.precision,
            self.batch,
            build_seconds=self.build_seconds,
            images_per_second=self.batch / median,
            reference_per_second=self.batch / reference_median,
            speedup=reference_median / median,
            spread=(min(ratios), max(ratios)),
            p50_ms=median * 1000,
            p95_ms=p95,
            p99_ms=p99,
            runs=len(self.times),
            memory_mib=self.memory_mib,
            agreement=agreement,
            is_close=agreement.difference <= self.graph.tolerance[self.precision],
        )


@torch.no_grad()
def calibrate_batch_norms_(model: Model, images: Tensor) -> Model:
    """Set the statistics of the batch norms of a model with random weights to those of `images`, and return it in eval mode.

    Otherwise the feature maps of a deep network would grow from block to block, and no outputs could be compared.
    """
    model.eval()  # a detector in train mode needs targets
    momenta = {}
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            momenta[module] = module.momentum
            module.momentum = None  # the average over all batches, of which there is one
            module.reset_running_stats()
            module.train()
    model(images)
    for module, momentum in momenta.items():
        module.momentum = momentum
    return model.eval()
