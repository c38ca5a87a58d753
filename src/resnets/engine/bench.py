"""How fast each engine is here, what it holds in memory, and how near its answers are to the reference's.

The engines take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnets.engine import engines
from resnets.engine.choice import Agreement, agreement
from resnets.engine.engines import Engine
from resnets.engine.folding import classify
from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.progress import say

REFERENCE = "reference"
ROUNDS = 5
LEAST_RUNS = 20  # of each engine, so that a 95th percentile means something


@dataclass(frozen=True)
class Row:
    """One engine at one batch size.

    Attributes:
        pictures_per_second: all pictures by all time.
        p50_ms, p95_ms, p99_ms: how long a batch takes.
        memory_mib: the highest that the process, or the GPU, rose above what it held before the engine was made; None
            where the system does not say.
        agreement: with the reference, on the pictures of the measurement.
        failure: why there are no figures.
    """

    engine: str
    precision: str
    batch: int
    build_seconds: float = 0.0
    pictures_per_second: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    memory_mib: float | None = None
    agreement: Agreement | None = None
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def names(text: str, device: torch.device) -> list[str]:
    """The engines of `torch,openvino`; all that are here for an empty text.

    Raises:
        UserError: one that is unknown or not to be had here.
    """
    words = [word.strip() for word in text.split(",") if word.strip()] or list(engines.available(device))
    for word in words:
        if word != REFERENCE:
            engines.check(word, device)
    return list(dict.fromkeys(word for word in words if word != REFERENCE))


def run(
    net: ResNet, pictures: Tensor, *, wanted: Sequence[str], precisions: Sequence[str], batch: int, seconds: float
) -> list[Row]:
    """Measure the reference and each of `wanted` in each of `precisions`.

    Args:
        net: in eval mode.
        pictures: float32 (n, C, h, w), n >= batch; all of them are compared.
        seconds: for each engine, at least; 20 batches are run in any case.
    """
    if batch < 1 or batch > len(pictures):
        raise UserError(f"--batch must be 1 to {len(pictures)}; received {batch}.")
    measured = [_Measured(net, REFERENCE, "fp32", pictures, batch)]
    for name in wanted:
        measured += [_Measured(net, name, precision, pictures, batch) for precision in precisions]
    ready = [each for each in measured if each.engine]
    for _ in range(ROUNDS):
        for each in ready:
            each.run(seconds / ROUNDS, -(-LEAST_RUNS // ROUNDS))
    with torch.inference_mode():
        logits = measured[0].logits()
        return [each.row(logits) for each in measured]


class _Measured:
    """An engine and the times of its batches."""

    def __init__(self, net: ResNet, name: str, precision: str, pictures: Tensor, batch: int) -> None:
        self.net, self.name, self.precision, self.pictures, self.batch = net, name, precision, pictures, batch
        self.times: list[float] = []
        self.engine: Engine | None = None
        self.failure = ""
        self.memory = Peak(next(net.parameters()).device)
        start = time.perf_counter()
        try:
            shape = (batch, *pictures.shape[1:])
            self.engine = engines.reference(net) if name == REFERENCE else engines.build(name, net, precision, shape)
            self.build_seconds = time.perf_counter() - start
            self._once()  # the first run sets things up
        except Exception as error:  # whatever a compiler may say: the others are still measured
            self.failure = next(iter(str(error).splitlines()), "") or type(error).__name__
            self.engine = None
            say(f"{name} {precision} cannot compute this network: {self.failure}")
        self.memory_mib = self.memory.rise()

    def _once(self) -> float:
        assert self.engine is not None
        part = self.pictures[: self.batch]
        start = time.perf_counter()
        pooled = self.engine(part)
        with torch.inference_mode():
            classify(self.net.head, pooled).cpu()  # waits for a GPU
        return time.perf_counter() - start

    def run(self, seconds: float, least: int) -> None:
        took = 0.0
        done = 0
        while took < seconds or done < least:
            self.times.append(self._once())
            took += self.times[-1]
            done += 1

    def logits(self) -> Tensor:
        assert self.engine is not None
        parts = [classify(self.net.head, self.engine(part)) for part in self.pictures.split(self.batch)]
        return torch.cat(parts).float().cpu()

    def row(self, wanted: Tensor) -> Row:
        if self.engine is None:
            return Row(self.name, self.precision, self.batch, failure=self.failure)
        p50, p95, p99 = (float(each) * 1000 for each in np.percentile(self.times, [50, 95, 99]))
        return Row(
            self.name,
            self.precision,
            self.batch,
            build_seconds=self.build_seconds,
            pictures_per_second=self.batch * len(self.times) / sum(self.times),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            memory_mib=self.memory_mib,
            agreement=agreement(self.logits(), wanted),
        )


class Peak:
    """The highest that the memory rises from here on, in MiB."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before: float | None = torch.cuda.memory_allocated(device) / 2**20
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten (proc(5))
        self.before = _status("VmRSS")

    def rise(self) -> float | None:
        if self.before is None:
            return None
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20 - self.before
        now = _status("VmHWM")
        return None if now is None else max(now - self.before, 0.0)


def _status(field: str) -> float | None:
    """A line of /proc/self/status, in MiB; None where there is none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


@torch.no_grad()
def settle(net: ResNet, pictures: Tensor) -> ResNet:
    """A network with random weights as a trained one is: its norms hold the statistics of `pictures`.

    Without this, the maps of a deep network grow from block to block, and no answers could be compared.
    """
    moments = {}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            moments[module] = module.momentum
            module.momentum = None  # the mean over all batches, here of one
            module.reset_running_stats()
    net.train()(pictures)
    for module, momentum in moments.items():
        module.momentum = momentum
    return net.eval()
