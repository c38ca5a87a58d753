"""The losses of the latest steps, which stay on the device until they are read together.

Reading a number from a GPU waits for all that it has to do, so it is done about once a second and not in each step. Until then a
loss that is not finite goes unnoticed; no state is saved without a check before.
"""

import itertools
import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from resnets.data.loading.batch import Batch
from resnets.errors import DivergedError
from resnets.tasks.base import Losses
from resnets.training import console, distributed
from resnets.training.state import TrainContext

CHECK_SECONDS = 1.0
MAX_STEPS = 50  # between two checks, since a check keeps the batches in mind that it may have to name


@dataclass(frozen=True)
class Checked:
    """What a check found, the same on all ranks."""

    # The sums of each step over the examples of all ranks, by name: "loss", "num_images" and those of `Losses.sums`. To be
    # added one by one, so that the sum of an epoch does not depend on when it was checked.
    steps: list[dict[str, float]]
    times: dict[str, float]  # "data_time_seconds" and "step_time_seconds" of all steps on this rank
    stop: bool  # whether any rank asked to stop, or to save the state
    save: bool  # whether any rank asked to stop, or to save the state


@dataclass
class PendingSteps:
    """The steps since the last check."""

    context: TrainContext
    interval: int = 1  # steps to the next check; decided by the main process at the last one
    steps: list[tuple[int, float, Tensor]] = field(default_factory=list)  # its number, learning rate, and indices
    values: list[Tensor] = field(default_factory=list)  # (1 + number of sums,) on the device
    names: tuple[str, ...] = ()
    counts: list[int] = field(default_factory=list)
    data_seconds: float = 0.0
    start: float = field(default_factory=time.perf_counter)

    def add(self, step: int, batch: Batch, losses: Losses, data_seconds: float) -> None:
        """Add a step, numbered from 1; nothing is read from the device."""
        self.names = tuple(losses.sums)
        self.steps.append((step, console.largest_lr(self.context), batch.indices))
        self.counts.append(len(batch.indices))
        self.values.append(torch.stack([losses.total.float(), *(each.float() for each in losses.sums.values())]))
        self.data_seconds += data_seconds

    @property
    def is_due(self) -> bool:
        return len(self.steps) >= self.interval

    def check(self, *, stop: bool = False, save: bool = False) -> Checked:
        """Read the losses, exchange them between the ranks, and begin anew.

        Raises:
            DivergedError: a loss is not finite; the step, its terms that are not finite, and its images are named.
        """
        rows = torch.stack(self.values).double().cpu() if self.values else torch.zeros(0, 1 + len(self.names))
        counts = torch.tensor(self.counts, dtype=torch.float64)
        weighted = torch.cat([rows[:, :1] * counts[:, None], rows[:, 1:], counts[:, None]], dim=1)  # losses are means
        seconds = time.perf_counter() - self.start
        interval = max(1, min(round(CHECK_SECONDS * len(self.steps) / max(seconds, 1e-9)), MAX_STEPS))
        *summed, stops, saves, interval_sum = distributed.all_reduce_sum(
            *weighted.flatten().tolist(), stop, save, interval if distributed.is_main() else 0
        )
        table = [summed[at : at + weighted.shape[1]] for at in range(0, len(summed), weighted.shape[1])]
        for (step, lr, indices), own, row in zip(self.steps, rows.tolist(), table, strict=True):
            if not math.isfinite(row[0]):
                raise DivergedError(self._not_finite(step, lr, indices, own, row))
        names = ("loss", *self.names, "num_images")
        by_step = [dict(zip(names, row, strict=True)) for row in table]
        times = {"data_time_seconds": self.data_seconds, "step_time_seconds": seconds}
        self.steps, self.values, self.counts = [], [], []
        self.data_seconds, self.interval, self.start = 0.0, int(interval_sum), time.perf_counter()
        return Checked(by_step, times, bool(stops), bool(saves))

    def _not_finite(self, step: int, lr: float, indices: Tensor, own: list[float], row: list[float]) -> str:
        """The message for a loss that is not finite, with the images of all ranks on which it is not.

        Args:
            own: the loss and the sums of this rank.
            row: those of all ranks, followed by the number of images.
        """
        problem, terms = f"The loss became {row[0] / row[-1]}", dict(zip(self.names, row[1:-1], strict=True))
        found = distributed.all_gather_object([] if math.isfinite(own[0]) else indices.tolist())
        return console.format_not_finite(self.context, step, lr, itertools.chain(*found), problem, terms)
