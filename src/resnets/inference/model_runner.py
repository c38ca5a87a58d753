"""Logits of a network, job by job, by the backend that the rule in `resnets.inference.choose_backend` names for each job."""

from __future__ import annotations

import torch
from torch import Tensor

from resnets.errors import JobError, UserError
from resnets.inference import backends, choose_backend, hardware
from resnets.inference.backends import Backend
from resnets.inference.choose_backend import REFERENCE, Choice
from resnets.inference.fold_batchnorm import classify
from resnets.models.resnet import ResNet
from resnets.progress import log

MOST_SHAPES = 4  # images of more sizes than that leave few of each, for which no backend pays


class Runner:
    """A network, and the backends that were made for it.

    Args:
        net: in eval mode, on its device.
        backend: "auto", or one of `backends.NAMES`.
        precision: "auto", "fp32" or "bf16".

    Raises:
        UserError: what is asked for is not to be had here.
    """

    def __init__(self, net: ResNet, backend: str = "auto", precision: str = "auto") -> None:
        parameter = next(net.parameters())
        choose_backend.check(backend, precision, parameter.device)
        self.net, self.backend, self.precision = net, backend, precision
        self.reference = backends.reference(net)
        self.single = self.reference.precision == "fp32"
        if not self.single and (backend != "auto" or precision == "bf16" != self.reference.precision):
            asked = f"`backend={backend}`" if backend != "auto" else f"`precision={precision}`"
            raise UserError(
                f"The network is in {self.reference.precision}, which only the reference computes; received {asked}. "
                "`net.float()` brings it to fp32."
            )
        self.made: dict[tuple[Choice, tuple[int, ...]], Backend | str] = {}

    def job(
        self,
        count: int | None,
        batch: int,
        *,
        precision: str | None = None,
        exact: bool = True,
        temperature: float = 1.0,
    ) -> Job:
        """What computes so many images in batches of `batch`. Where nobody knows how many (None), it is a short job.

        Args:
            precision: takes the place of "auto".
            exact: as in `choice.choose`.
            temperature: of the probabilities that are compared with the reference's.
        """
        wanted = precision if precision and self.precision == "auto" else self.precision
        return Job(self, count or 0, batch if count is None else max(min(count, batch), 1), wanted, exact, temperature)

    def make(self, wanted: Choice, shape: tuple[int, ...]) -> Backend | str:
        """The backend for batches of `shape`, made once; or, in a line, why it cannot compute this network."""
        if wanted == REFERENCE:
            return self.reference
        key = (wanted, shape)
        if key not in self.made:
            try:
                self.made[key] = backends.build(wanted.backend, self.net, wanted.precision, shape)
            except Exception as error:  # whatever a compiler may say: another can still do the work
                lines = [line.strip() for line in str(error).splitlines() if line.strip()]
                self.made[key] = lines[0] if lines else type(error).__name__
        return self.made[key]


class Job:
    """A number of images that are computed alike: each size of them by one backend.

    What computes them depends on the job and its images, and on no job before it. `used` are the names and precisions
    of the backends that were used so far.
    """

    def __init__(self, runner: Runner, count: int, batch: int, precision: str, exact: bool, temperature: float) -> None:
        self.runner, self.count, self.batch = runner, count, batch
        self.precision, self.exact, self.temperature = precision, exact, temperature
        self.chosen: dict[tuple[int, ...], Backend] = {}
        self.used: dict[Choice, None] = {}  # in the order of their use

    def forward_pooled(self, images: Tensor) -> Tensor:
        """float32 (N, features) of normalized images (N, C, h, w) of one size."""
        return self._backend(images)(images)

    def logits(self, images: Tensor) -> Tensor:
        """float32 (N, classes) on the CPU, of normalized images (N, C, h, w) of one size."""
        net = self.runner.net
        with torch.inference_mode():
            backend = self._backend(images)
            if (
                backend.name == REFERENCE.backend
            ):  # the network as a whole: it is called, with whatever was hooked to it
                images = images.to(backend.device).contiguous(memory_format=torch.channels_last)
                return net(images).float().cpu()
            return classify(net.head, backend(images)).float().cpu()

    def _backend(self, images: Tensor) -> Backend:
        backend = self._chosen(images)
        self.used[Choice(backend.name, backend.precision)] = None
        return backend

    def _chosen(self, images: Tensor) -> Backend:
        runner, shape = self.runner, tuple(images.shape[1:])
        if not runner.single:
            return runner.reference
        if shape in self.chosen:
            return self.chosen[shape]
        choices = choose_backend.choose(
            device=runner.reference.device.type,
            installed=backends.available(runner.reference.device),
            pixels=self.count * shape[-2] * shape[-1],
            native_bf16=bool(hardware.native_bf16(runner.reference.device)),
            backend=runner.backend,
            precision=self.precision,
            exact=self.exact,
        )
        if len(images) < self.batch / 2 or len(self.chosen) >= MOST_SHAPES:  # no batch of this shape will be full
            return self._any_shape(choices[-1])
        self.chosen[shape] = self._first(choices, images)
        return self.chosen[shape]

    def _first(self, choices: tuple[Choice, ...], images: Tensor) -> Backend:
        """The first that can be made and, unless it was asked for, gives the reference's answers on these images."""
        runner, failed = self.runner, ""
        for wanted in choices:
            key = (wanted, (self.batch, *images.shape[1:]))
            known = key in runner.made
            backend = runner.make(*key)
            if isinstance(backend, str):
                failed = f"{wanted} cannot compute this network: {backend}"
                if not known and choices[-1] == REFERENCE:
                    log(f"backend {failed}")
                continue
            if wanted == REFERENCE:
                return backend
            close = self._agreement(backend, images)
            if choices[-1] != REFERENCE:
                if not known:
                    log(f"backend: {wanted}, as asked; {close}")
                return backend
            if close.probability <= choose_backend.TOLERANCE[wanted.precision]:
                log(f"backend: {wanted}; {close}")
                return backend
            log(f"backend {wanted} is not used: {close}")
        raise JobError(f"The backend {failed}")

    def _agreement(self, backend: Backend, images: Tensor) -> choose_backend.Agreement:
        head, reference = self.runner.net.head, self.runner.reference
        with torch.inference_mode():
            logits, wanted = (classify(head, each(images)) for each in (backend, reference))
        return choose_backend.agreement(logits, wanted, temperature=self.temperature)

    def _any_shape(self, last: Choice) -> Backend:
        """The reference, or torch itself in the precision that was asked for."""
        backend = self.runner.make(last if last == REFERENCE else Choice("torch", last.precision), ())
        assert isinstance(backend, Backend), backend
        return backend
