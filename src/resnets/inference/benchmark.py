"""Benchmark of the backends: images per second, and how close each is to the reference.

The backends are measured one after the other, so that rows appear early. The reference is measured in turn with each of them,
so that other load on the machine affects both.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

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


class Case(NamedTuple):
    """What is measured in a row: what computes the outputs, and its inputs.

    Attributes:
        build: from a number of images that go through together to a function of such inputs.
        images: its inputs, (n, C, h, w); those of all cases are made of the same images.
    """

    backend: str
    precision: str
    build: Callable[[int], Callable[[Tensor], Any]]
    images: Tensor

    def __str__(self) -> str:
        return f"{self.backend} {self.precision}"


def cases_of(graph: StaticGraph, images: Tensor, names: Sequence[str], precisions: Sequence[str]) -> list[Case]:
    """The reference, then each backend of `names` in each of `precisions`; `graph` is of a model in eval mode."""

    def case(name: str, precision: str) -> Case:
        def build(batch: int) -> Backend:
            return backends.build(name, graph, precision, (batch, *images.shape[1:]))

        return Case(name, precision, build, images)

    first = Case(REFERENCE, "fp32", lambda _: backends.reference(graph), images)
    return [first, *(case(name, precision) for name in names for precision in precisions)]


def measure(graph: StaticGraph, cases: Sequence[Case], *, batch: int, seconds: float) -> Iterator[Row]:
    """Measure cases, and yield a row after each measurement; the first one is the reference for the others.

    Args:
        graph: by which outputs are compared, all images with the reference.
        seconds: time of measuring for each row, and half as much again for the reference. At least five batches of each are
            run. Building a backend takes additional time.

    Raises:
        UserError: there are not enough images for a batch.
    """
    num_images = len(cases[0].images)
    if batch < 1 or batch > num_images:
        raise UserError(f"`batch` must be 1 to {num_images}; received {batch}.")
    reference: _Measurement | None = None
    outputs: Any = None  # of the reference
    for number, case in enumerate(cases, start=1):
        log(f"{number} of {len(cases)}: {case}, batch {batch}: building{BUILD_NOTES.get(case.backend, '')} ...")
        measured = _Measurement(graph, case, batch, is_reference=reference is None)
        reference_times: list[float] = []  # in the same rounds
        if measured.compute is not None:
            for _ in progress_bar(range(ROUNDS), description=f"{case}, batch {batch}", total=ROUNDS, unit="rounds"):
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
    """Which backend to use, in a sentence for each batch size; none for an exported file."""
    if rows[0].backend != REFERENCE:
        return []
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
    """A case and the times of its batches."""

    def __init__(self, graph: StaticGraph, case: Case, batch: int, *, is_reference: bool) -> None:
        self.graph, self.case, self.batch = graph, case, batch
        self.times: list[float] = []
        self.rounds: list[float] = []  # the median time of each
        self.compute: Callable[[Tensor], Any] | None = None
        self.failure = ""
        self.build_seconds = 0.0
        device = next(graph.model.parameters()).device
        before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        start = time.perf_counter()
        try:
            self.compute = case.build(batch)
            self.build_seconds = time.perf_counter() - start
            self.once()  # the first run initializes the backend
        except Exception as error:  # of any type: the others are still measured
            if is_reference:
                raise
            lines = (line.strip() for line in str(error).splitlines() if line.strip())
            self.failure = next(lines, type(error).__name__)
            self.compute = None
            log(f"{case} cannot compute this network: {self.failure}")
        peak = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None
        self.memory_mib = None if peak is None else peak / 2**20

    @torch.inference_mode()
    def once(self) -> None:
        """Compute one batch."""
        assert self.compute is not None
        map_tensors(self.compute(self.case.images[: self.batch]), Tensor, Tensor.cpu)  # waits for a GPU

    def round(self, seconds: float) -> float:
        """Compute batches for `seconds`, at least one; the median time of a batch in seconds."""
        times = time_calls(self.once, seconds)
        self.times += times
        self.rounds.append(float(np.median(times)))
        return self.rounds[-1]

    @torch.inference_mode()
    def outputs(self) -> Any:
        assert self.compute is not None
        return concatenate([self.compute(chunk) for chunk in self.case.images.split(self.batch)])

    @torch.inference_mode()
    def row(self, reference_outputs: Any, reference_times: Sequence[float]) -> Row:
        backend, precision = self.case.backend, self.case.precision
        if self.compute is None:
            return Row(backend, precision, self.batch, failure=self.failure)
        median, reference_median = float(np.median(self.rounds)), float(np.median(reference_times))
        ratios = [reference / own for own, reference in zip(self.rounds, reference_times, strict=True)]
        agreement = self.graph.compare(self.outputs(), reference_outputs)
        p95, p99 = (float(seconds) * 1000 for seconds in np.percentile(self.times, [95, 99]))
        return Row(
            backend,
            precision,
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
            is_close=agreement.difference <= self.graph.tolerance.get(precision, 0.0),  # int8 is never taken by itself
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
