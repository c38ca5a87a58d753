"""ModelRunner computes the outputs of a model, with a backend that `choose_backend` chooses for each job."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from resnets.errors import JobError, UserError
from resnets.inference import backends, choose_backend, hardware, tf32, winograd
from resnets.inference.backends import Backend
from resnets.inference.choose_backend import REFERENCE, Choice
from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.nested_tensors import map_tensors
from resnets.progress import log

MAX_SHAPES = 4  # sizes of images in a job that get a backend of their own; with more, none has enough images to pay


class OutputsJob(Protocol):
    """Images to compute. `used` has the backends that were used so far, in the order of their use."""

    used: dict[Choice, None]

    def outputs(self, images: Tensor) -> Any:
        """The outputs of the model for images (N, C, h, w), on the CPU; floating-point numbers are float32."""


class OutputsRunner(Protocol):
    """Computes the outputs of a model: a `ModelRunner`, or an exported file."""

    backend: str
    precision: str

    def job(
        self, count: int | None, batch: int, *, precision: str | None = None, exact: bool | None = None
    ) -> OutputsJob:
        """See `ModelRunner.job`."""


class ModelRunner:
    """A model and the backends that were built for it.

    Args:
        graph: of a model in eval mode, on its device.
        backend: "auto", or one of `backends.NAMES`.
        precision: "auto", "fp32" or "bf16".

    Raises:
        UserError: the backend or the precision is not available here.
    """

    def __init__(self, graph: StaticGraph, backend: str = "auto", precision: str = "auto") -> None:
        self.graph, self.backend, self.precision = graph, backend, precision
        self.reference = backends.reference(graph)
        choose_backend.check(backend, precision, self.reference.device)
        self.is_fp32 = self.reference.precision == "fp32"
        if not self.is_fp32 and (backend != "auto" or precision == "bf16" != self.reference.precision):
            received = f"`backend={backend}`" if backend != "auto" else f"`precision={precision}`"
            raise UserError(
                f"The network is in {self.reference.precision}, which only the reference computes; received {received}. "
                "`net.float()` converts it to fp32."
            )
        self._winograd_share: float | None = None
        self.built: dict[tuple[Choice, tuple[int, ...]], Backend | str] = {}

    def job(self, count: int | None, batch: int, *, precision: str | None = None, exact: bool | None = None) -> Job:
        """A job of `count` images in batches of `batch`. A job of unknown length (None) counts as a short one.

        Args:
            precision: replaces "auto".
            exact: as in `choose_backend.choose`; by default as the graph has it.

        Returns:
            The job; its backend is chosen when its first images arrive.
        """
        if precision is None or self.precision != "auto":
            precision = self.precision
        exact = self.graph.exact if exact is None else exact
        return Job(self, count or 0, batch if count is None else max(min(count, batch), 1), precision, exact)

    def build(self, choice: Choice, shape: tuple[int, ...]) -> Backend | str:
        """The backend for batches of `shape` (empty: any, with torch), built once; or a line why it cannot compute this model."""
        if choice == REFERENCE:
            return self.reference
        key = (choice, shape)
        if key not in self.built:
            try:
                self.built[key] = backends.build(choice.backend, self.graph, choice.precision, shape)
            except Exception as error:  # of any type: another backend can still do the work
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                self.built[key] = lines[0] if lines else type(error).__name__
        return self.built[key]

    def is_mostly_winograd(self, images: Tensor) -> bool:
        """Whether torch computes most multiplications of the network by Winograd's algorithm on this processor."""
        if self.reference.device.type != "cpu" or not winograd.is_faster_here():
            return False
        if self._winograd_share is None:
            self._winograd_share = winograd.share(self.graph.static, images[:1])
        return self._winograd_share > 0.5


def computed_by(jobs: Iterable[OutputsJob]) -> dict[str, str]:
    """The backends and precisions that computed the outputs of some jobs, each once: "backend" and "precision"."""
    used = [choice for job in jobs for choice in job.used]
    return {
        "backend": ", ".join(dict.fromkeys(each.backend for each in used)),
        "precision": ", ".join(dict.fromkeys(each.precision for each in used)),
    }


class Job:
    """A number of images to compute, all images of one size with one backend.

    The choice depends on the job and its images, and on no job before it. `used` has the backends that were used so far.
    """

    def __init__(self, runner: ModelRunner, count: int, batch: int, precision: str, exact: bool) -> None:
        self.runner, self.count, self.batch, self.precision, self.exact = runner, count, batch, precision, exact
        self.by_shape: dict[tuple[int, ...], Backend] = {}
        self.used: dict[Choice, None] = {}  # in the order of their use
        self._lock = threading.Lock()  # of the choice, which builds backends: several threads may compute

    def outputs(self, images: Tensor) -> Any:
        """The outputs of the model for normalized images (N, C, h, w), on the CPU; floating-point numbers are float32."""
        with self._lock:
            backend = self._select(images)
        self.used[Choice(backend.name, backend.precision)] = None
        return map_tensors(backend(images), Tensor, Tensor.cpu)

    def _select(self, images: Tensor) -> Backend:
        runner, shape = self.runner, tuple(images.shape[1:])
        if not runner.is_fp32:
            return runner.reference
        if shape in self.by_shape:
            return self.by_shape[shape]
        choices = self._choices(images)
        if choices[0].backend == "torch":  # whose backend is for images of any shape
            shape = ()
            if shape in self.by_shape:
                return self.by_shape[shape]
        elif len(images) < self._full_batch(shape) / 2 or len(self.by_shape) >= MAX_SHAPES:
            # No batch of this shape will be full, or too few will be.
            return self._for_any_shape(choices[-1])
        self.by_shape[shape] = self._first_accepted(choices, images)
        return self.by_shape[shape]

    def _choices(self, images: Tensor) -> tuple[Choice, ...]:
        runner = self.runner
        device = runner.reference.device
        pixels = self.count * images.shape[-2] * images.shape[-1]
        return choose_backend.choose(
            device=device.type,
            installed=backends.available(device),
            pixels=pixels,
            native_bf16=bool(hardware.native_bf16_reason(device)),
            backend=runner.backend,
            precision=self.precision,
            exact=self.exact,
            mostly_winograd=pixels >= choose_backend.LONG_PIXELS and runner.is_mostly_winograd(images),
        )

    def _first_accepted(self, choices: tuple[Choice, ...], images: Tensor) -> Backend:
        """The first choice that can be built and, unless the user chose it, is close to the reference on these images."""
        runner, failure = self.runner, ""
        chosen_by_user = choices[-1] != REFERENCE
        for choice in choices:
            shape = tuple(images.shape[1:])
            key = (choice, () if choice.backend == "torch" else (self._full_batch(shape), *shape))
            is_new = key not in runner.built
            backend = runner.build(*key)
            if isinstance(backend, str):
                failure = f"{choice} cannot compute this network: {backend}"
                if is_new and not chosen_by_user:
                    log(f"backend {failure}")
                continue
            if choice == REFERENCE:
                return backend
            agreement = self._agreement(backend, images)
            if chosen_by_user:
                if is_new:
                    log(f"backend: {choice}, as requested; {agreement}")
                return backend
            if agreement.difference <= runner.graph.tolerance[choice.precision]:
                log(f"backend: {choice}; {agreement}")
                return backend
            log(f"backend {choice} is not used: {agreement}")
        raise JobError(f"The backend {failure}")

    def _full_batch(self, shape: tuple[int, ...]) -> int:
        """The number of images (C, h, w) of this shape that come together at most."""
        limit = self.runner.graph.largest_batch
        return self.batch if limit is None else min(self.batch, limit(shape[-2], shape[-1]))

    def _agreement(self, backend: Backend, images: Tensor) -> Agreement:
        reference = self.runner.reference
        with torch.inference_mode(), tf32.disabled(reference.device):
            return self.runner.graph.compare(backend(images), reference(images))

    def _for_any_shape(self, last: Choice) -> Backend:
        """The reference, or torch in the precision that the user chose."""
        backend = self.runner.build(last if last == REFERENCE else Choice("torch", last.precision), ())
        assert isinstance(backend, Backend), backend
        return backend
