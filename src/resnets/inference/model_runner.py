"""ModelRunner computes logits and pooled features of a network, with a backend that `choose_backend` chooses for each job."""

from __future__ import annotations

import torch
from torch import Tensor

from resnets.errors import JobError, UserError
from resnets.inference import backends, choose_backend, hardware, tf32
from resnets.inference.backends import Backend
from resnets.inference.choose_backend import REFERENCE, Choice
from resnets.models.resnet import ResNet
from resnets.progress import log

MAX_SHAPES = 4  # sizes of images in a job that get a backend of their own; with more, none has enough images to pay


class ModelRunner:
    """A network and the backends that were built for it.

    Args:
        net: in eval mode, on its device.
        backend: "auto", or one of `backends.NAMES`.
        precision: "auto", "fp32" or "bf16".

    Raises:
        UserError: the backend or the precision is not available here.
    """

    def __init__(self, net: ResNet, backend: str = "auto", precision: str = "auto") -> None:
        parameter = next(net.parameters())
        choose_backend.check(backend, precision, parameter.device)
        self.net, self.backend, self.precision = net, backend, precision
        self.reference = backends.reference(net)
        self.is_fp32 = self.reference.precision == "fp32"
        if not self.is_fp32 and (backend != "auto" or precision == "bf16" != self.reference.precision):
            received = f"`backend={backend}`" if backend != "auto" else f"`precision={precision}`"
            raise UserError(
                f"The network is in {self.reference.precision}, which only the reference computes; received {received}. "
                "`net.float()` converts it to fp32."
            )
        self.built: dict[tuple[Choice, tuple[int, ...]], Backend | str] = {}

    def job(
        self,
        count: int | None,
        batch: int,
        *,
        precision: str | None = None,
        exact: bool = True,
        temperature: float = 1.0,
    ) -> Job:
        """A job of `count` images in batches of `batch`. A job of unknown length (None) counts as a short one.

        Args:
            precision: replaces "auto".
            exact: as in `choose_backend.choose`.
            temperature: of the probabilities that are compared with the reference's.

        Returns:
            The job; its backend is chosen when its first images arrive.
        """
        if precision is None or self.precision != "auto":
            precision = self.precision
        return Job(
            self, count or 0, batch if count is None else max(min(count, batch), 1), precision, exact, temperature
        )

    def build(self, choice: Choice, shape: tuple[int, ...]) -> Backend | str:
        """The backend for batches of `shape`, built once; or, in a line, why it cannot compute this network."""
        if choice == REFERENCE:
            return self.reference
        key = (choice, shape)
        if key not in self.built:
            try:
                self.built[key] = backends.build(choice.backend, self.net, choice.precision, shape)
            except Exception as error:  # of any type: another backend can still do the work
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                self.built[key] = lines[0] if lines else type(error).__name__
        return self.built[key]


class Job:
    """A number of images to compute, all images of one size with one backend.

    The choice depends on the job and its images, and on no job before it. `used` has the backends that were used so far.
    """

    def __init__(
        self, runner: ModelRunner, count: int, batch: int, precision: str, exact: bool, temperature: float
    ) -> None:
        self.runner, self.count, self.batch = runner, count, batch
        self.precision, self.exact, self.temperature = precision, exact, temperature
        self.by_shape: dict[tuple[int, ...], Backend] = {}
        self.used: dict[Choice, None] = {}  # in the order of their use

    def forward_pooled(self, images: Tensor) -> Tensor:
        """Pooled features (N, F), float32, of normalized images (N, C, h, w)."""
        return self._backend(images)(images)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes), float32, on the CPU, of normalized images (N, C, h, w)."""
        net = self.runner.net
        with torch.inference_mode(), tf32.disabled(self.runner.reference.device):
            backend = self._backend(images)
            if backend.name == REFERENCE.backend:  # the network itself is called, with any hooks that it has
                images = images.to(backend.device).contiguous(memory_format=torch.channels_last)
                return net(images).float().cpu()
            return net.head(backend(images)).float().cpu()

    def _backend(self, images: Tensor) -> Backend:
        backend = self._select(images)
        self.used[Choice(backend.name, backend.precision)] = None
        return backend

    def _select(self, images: Tensor) -> Backend:
        runner, shape = self.runner, tuple(images.shape[1:])
        if not runner.is_fp32:
            return runner.reference
        if shape in self.by_shape:
            return self.by_shape[shape]
        choices = choose_backend.choose(
            device=runner.reference.device.type,
            installed=backends.available(runner.reference.device),
            pixels=self.count * shape[-2] * shape[-1],
            native_bf16=bool(hardware.native_bf16_reason(runner.reference.device)),
            backend=runner.backend,
            precision=self.precision,
            exact=self.exact,
        )
        if len(images) < self.batch / 2 or len(self.by_shape) >= MAX_SHAPES:  # no batch of this shape will be full
            return self._for_any_shape(choices[-1])
        self.by_shape[shape] = self._first_accepted(choices, images)
        return self.by_shape[shape]

    def _first_accepted(self, choices: tuple[Choice, ...], images: Tensor) -> Backend:
        """The first choice that can be built and, unless the user chose it, is close to the reference on these images."""
        runner, failure = self.runner, ""
        chosen_by_user = choices[-1] != REFERENCE
        for choice in choices:
            key = (choice, (self.batch, *images.shape[1:]))
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
            if agreement.probability <= choose_backend.TOLERANCE[choice.precision]:
                log(f"backend: {choice}; {agreement}")
                return backend
            log(f"backend {choice} is not used: {agreement}")
        raise JobError(f"The backend {failure}")

    def _agreement(self, backend: Backend, images: Tensor) -> choose_backend.Agreement:
        head = self.runner.net.head
        with torch.inference_mode(), tf32.disabled(self.runner.reference.device):
            logits, reference = head(backend(images)), head(self.runner.reference(images))
        return choose_backend.agreement(logits, reference, temperature=self.temperature)

    def _for_any_shape(self, last: Choice) -> Backend:
        """The reference, or torch in the precision that the user chose."""
        backend = self.runner.build(last if last == REFERENCE else Choice("torch", last.precision), ())
        assert isinstance(backend, Backend), backend
        return backend
