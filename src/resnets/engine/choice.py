"""The fastest engine for a job, found by a short measurement that this machine remembers.

Making an engine ready takes from a second to a minute. So what is minimised is the time of the whole job, making ready
included: a short job runs as it is, and nothing is tried that could not pay for itself even if it were as fast as
elsewhere. Whatever is chosen has to give the answers of the reference on the first pictures.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from resnets import atomic
from resnets.engine import converted, engines, machine
from resnets.engine.engines import Engine
from resnets.engine.folding import classify
from resnets.errors import JobError, UserError, suggestion
from resnets.models.resnet import ResNet
from resnets.progress import say

LONG_SECONDS = 8.0  # a job that the reference does in less runs as it is: there is little to gain
GAIN = 0.9  # an engine must promise a tenth of the time before it is tried
RUNS, RUN_SECONDS = 3, 0.5  # a measurement ends when one of them is reached
FEW, SOME = 8, 16  # pictures for the reference's speed, and for the comparison with it

# What to expect where nothing was measured yet: seconds to make ready, speed in multiples of the reference's (ResNet-50 at
# 224, batch 16, two Zen 5 cores). The first compilation on a machine takes longer, since the headers are compiled, too.
EXPECTED = {
    ("torch", "fp32"): (0.2, 1.1),
    ("torch", "bf16"): (0.2, 2.1),
    ("compile", "fp32"): (30.0, 1.3),
    ("compile", "bf16"): (30.0, 2.7),
    ("openvino", "fp32"): (5.0, 1.4),
    ("openvino", "bf16"): (5.0, 2.7),
}

# How far a probability may move from the reference's. A faulty compiler moves them anywhere; bf16 has 8 bits.
TOLERANCE = {"fp32": 0.002, "bf16": 0.05}


@dataclass(frozen=True)
class Measured:
    build_seconds: float
    pictures_per_second: float


@dataclass(frozen=True)
class Agreement:
    """How near the answers are to the reference's, on `pictures` pictures.

    `same` is the share of equal first classes; the others are the largest differences of a logit and of a probability.
    """

    pictures: int
    same: float
    logit: float
    probability: float

    def __str__(self) -> str:
        return f"on {self.pictures} pictures {self.same:.2%} equal labels, probabilities within {self.probability:.4f}"


def agreement(logits: Tensor, wanted: Tensor) -> Agreement:
    """Compare logits (N, K) with the reference's."""
    moved = (logits.double().softmax(1) - wanted.double().softmax(1)).abs().max()
    same = (logits.argmax(1) == wanted.argmax(1)).double().mean()
    return Agreement(len(logits), float(same), float((logits - wanted).abs().max()), float(moved))


def check(engine: str, precision: str, device: torch.device) -> None:
    """Raises UserError for words that name no engine and no precision here."""
    if precision not in ("auto", *engines.PRECISIONS):
        known = ("auto", *engines.PRECISIONS)
        raise UserError(
            f"--precision is one of {', '.join(known)}; received '{precision}'.{suggestion(precision, known)}"
        )
    if engine != "auto":
        engines.check(engine, device)


def choose(
    net: ResNet, probe: Tensor, *, count: int, batch: int, engine: str = "auto", precision: str = "auto"
) -> Engine:
    """The engine for `count` pictures in batches of `batch`, of the size of those in `probe` (n, C, h, w).

    `engine` and `precision` narrow the choice. With `engine="auto"` or "torch" and `precision="fp32"` it is the reference.

    Raises:
        UserError: what was asked for is not to be had here.
        JobError: the engine that was asked for cannot be made for this network. How near its answers are to the
            reference's is said, and left to who asked.
    """
    device = next(net.parameters()).device
    check(engine, precision, device)
    reference = engines.reference(net)
    if precision == "fp32" and engine in ("auto", "torch"):
        return reference
    native = machine.native_bf16(device)
    wanted = precision if precision != "auto" else "bf16" if native else "fp32"
    if engine != "auto":
        return _asked(net, probe, batch, engine, wanted, reference)
    return _Choice(net, probe, count, batch, reference).find(wanted, native, asked=precision != "auto")


def _asked(net: ResNet, probe: Tensor, batch: int, name: str, precision: str, reference: Engine) -> Engine:
    try:
        made = engines.build(name, net, precision, (batch, *probe.shape[1:]))
    except Exception as error:
        raise JobError(f"The engine {name} {precision} cannot compute this network: {_first_line(error)}") from error
    say(f"engine: {made}, as asked; {_agrees(net, made, reference, probe[:SOME])}")
    return made


def _agrees(net: ResNet, engine: Engine, reference: Engine, probe: Tensor) -> Agreement:
    with torch.inference_mode():
        return agreement(classify(net.head, engine(probe)), classify(net.head, reference(probe)))


class _Choice:
    """One search. `made` holds the engines that are ready, `known` what was measured, now or in an earlier run."""

    def __init__(self, net: ResNet, probe: Tensor, count: int, batch: int, reference: Engine) -> None:
        self.net, self.probe, self.count, self.batch, self.reference = net, probe, count, batch, reference
        self.memory = Memory(net, (batch, *probe.shape[1:]))
        self.known = self.memory.read()
        self.made: dict[str, Engine] = {}
        if str(reference) not in self.known:
            self.known[str(reference)] = Measured(0.0, rate(reference, probe[:FEW], batch=len(probe[:FEW])))
        self.base = self.known[str(reference)].pictures_per_second

    def find(self, precision: str, native: str, *, asked: bool) -> Engine:
        whole = math.inf if asked else self.count / self.base
        if whole < LONG_SECONDS:
            return self.reference
        self._measure(precision, whole)
        ready = [name for name in engines.available(self.reference.device) if f"{name} {precision}" in self.known]
        for name in sorted(ready, key=lambda name: self._total(name, precision)):
            if self._total(name, precision) >= whole or (made := self._ready(name, precision)) is None:
                continue
            close = _agrees(self.net, made, self.reference, self.probe[:SOME])
            if asked or close.probability <= TOLERANCE[precision]:
                speed = self.known[str(made)].pictures_per_second
                because = f"; {native}" if native and precision == "bf16" else ""
                say(f"engine: {made}, {speed:,.0f} pictures/s, the reference {self.base:,.0f}{because}; {close}")
                return made
            say(f"engine {made} is not used: {close}")
        if asked:
            raise JobError(f"No engine can compute this network in {precision}. Take --precision auto.")
        return self.find("fp32", "", asked=False) if precision == "bf16" else self.reference

    def _measure(self, precision: str, whole: float) -> None:
        """Try what is unknown and may pay, the most promising first."""
        names = sorted(engines.available(self.reference.device), key=lambda name: self._total(name, precision))
        best = min([whole, *(self._total(name, precision) for name in names if f"{name} {precision}" in self.known)])
        for name in names:
            if f"{name} {precision}" not in self.known and self._total(name, precision) < GAIN * best:
                self._ready(name, precision)
                best = min(best, self._total(name, precision))

    def _total(self, name: str, precision: str) -> float:
        """Seconds that the job takes with this engine, as far as is known; what is ready costs nothing more."""
        key = f"{name} {precision}"
        found = self.known.get(key)
        if found is None:
            build_seconds, gain = EXPECTED[name, precision]
            return build_seconds + self.count / (self.base * gain)
        return (0.0 if key in self.made else found.build_seconds) + self.count / found.pictures_per_second

    def _ready(self, name: str, precision: str) -> Engine | None:
        """The engine, made and measured if it was not; None when it cannot compute this network."""
        key = f"{name} {precision}"
        if key in self.made:
            return self.made[key]
        start = time.perf_counter()
        try:
            made = engines.build(name, self.net, precision, (self.batch, *self.probe.shape[1:]))
            took = time.perf_counter() - start
            if key not in self.known:
                self.known[key] = Measured(took, rate(made, self.probe, batch=self.batch))
                self.memory.write(self.known)
        except Exception as error:  # whatever a compiler may say: the others can still do the work
            say(f"engine {key} cannot compute this network: {_first_line(error)}")
            self.known.pop(key, None)
            return None
        self.made[key] = made
        return made


def rate(engine: Engine, probe: Tensor, *, batch: int) -> float:
    """Pictures a second in full batches: the best of a few runs, since whatever else runs here only slows them down."""
    full = probe[torch.arange(batch) % len(probe)]
    engine(full)  # the first run sets things up
    seconds: list[float] = []
    while len(seconds) < RUNS and sum(seconds) < RUN_SECONDS:
        start = time.perf_counter()
        engine(full)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        seconds.append(time.perf_counter() - start)
    return batch / min(seconds)


class Memory:
    """What was measured for this network, on this machine, at this shape; a file under `$RESNETS_HOME/engines`."""

    def __init__(self, net: ResNet, shape: tuple[int, ...]) -> None:
        device = next(net.parameters()).device
        self.facts = {
            "machine": machine.identity(device),
            # Every layer with its sizes, the same for all weights.
            "network": hashlib.sha256(repr(net).encode()).hexdigest(),
            "shape": list(shape),
        }
        name = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:20]
        self.path: Path = converted.home() / f"{name}.json"

    def read(self) -> dict[str, Measured]:
        """Nothing where nothing was measured, and nothing from a file that is damaged."""
        try:
            return dict(self._entries())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _entries(self) -> Iterator[tuple[str, Measured]]:
        content = json.loads(self.path.read_text())
        for name, entry in content["measured"].items():
            found = Measured(float(entry["build_seconds"]), float(entry["pictures_per_second"]))
            if found.pictures_per_second > 0:
                yield name, found

    def write(self, measured: dict[str, Measured]) -> None:
        """Where it cannot be kept, it is measured again the next time."""
        content = {**self.facts, "measured": {name: asdict(each) for name, each in measured.items()}}
        with suppress(JobError):
            atomic.write_text(self.path, json.dumps(content, indent=2) + "\n")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
