"""Collectives for distributed training (DDP) over gloo or NCCL; with a world size of 1 each of them does nothing.

Only the main process (rank 0) writes files and logs. Each batch is divided equally over the ranks, and the gradients are
averaged, so that all ranks together take the step of one process with the whole batch. Only batch norm sees the local batch,
unless it is synchronized.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnets import ranks
from resnets.connection_errors import is_connection_error
from resnets.errors import JobError, UserError
from resnets.timeout import timeout_seconds
from resnets.training.run_dir import lock

Value = TypeVar("Value")

_jobs = itertools.count()  # a script may train several times in one process


class LaunchAttempt:
    """One start of a job. The launcher keeps a key-value store, in which a restarted job finds the run directory."""

    def __init__(self, store: dist.Store | None, job: int) -> None:
        self._store, self._key = store, f"resnets/run_dir/{job}"

    def save_run_dir(self, run: Path) -> None:
        """Let a restarted job find the run directory of this one."""
        if self._store is not None and is_main():
            self._store.set(self._key, str(run))

    def load_run_dir(self) -> Path | None:
        """Return the run directory of an earlier attempt, or None."""
        store = self._store
        stored = store is not None and broadcast_from_main(lambda: store.check([self._key]) and store.get(self._key))
        return Path(stored.decode()) if stored else None


@contextlib.contextmanager
def process_group() -> Iterator[LaunchAttempt]:
    """Join the process group of the launcher for the duration of the block; without a launcher nothing happens.

    Raises:
        UserError: the environment variables of the launcher are incomplete or wrong.
        JobError: the connection to another rank was lost.
    """
    if (problem := ranks.launcher_error()) is not None:
        raise UserError(
            f"{problem}: a launcher sets all of them. Start the job with torchrun; if another program has left them behind, "
            "`unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE`."
        )
    timeout_seconds()  # raises for a wrong RESNETS_TIMEOUT_MINUTES before the job starts
    if not ranks.started_by_launcher():
        yield LaunchAttempt(None, 0)
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(ranks.local_rank() % torch.cuda.device_count())
    store, rank, size = _launcher_store(), ranks.rank(), ranks.world_size()
    try:
        group_store = dist.PrefixStore(_rendezvous(store, rank, size), store)
        # How long a collective waits for the other ranks, which may be reading images before the first step. gloo notices at
        # once when a process has died, by its closed connections; where NCCL does not, torchrun does and ends the other ranks.
        # Only this timeout ends the wait for a process that is stopped or stuck.
        timeout, backend = timedelta(seconds=timeout_seconds()), "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=group_store, rank=rank, world_size=size, timeout=timeout)
        yield LaunchAttempt(store, next(_jobs))
    except RuntimeError as error:
        is_lost = isinstance(error, dist.DistError) or is_connection_error(error)
        if is_lost and not isinstance(error, JobError):
            raise JobError(
                f"Rank {rank} lost the connection to the others: one of them has ended, as its own message says, "
                f"or has not answered for {timeout_seconds() / 60:g} minutes (RESNETS_TIMEOUT_MINUTES). "
                f"({str(error).splitlines()[0][:200]})"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@functools.cache
def _launcher_store() -> dist.Store:
    """Return the store of the launcher, or of rank 0; cached, since the next job in this process needs it, too."""
    return next(dist.rendezvous("env://", timeout=timedelta(seconds=timeout_seconds())))[0]


def _rendezvous(store: dist.Store, rank: int, size: int) -> str:
    """Agree on a key prefix for this attempt and return it.

    torchrun keeps one store for all attempts of a job, which still has the addresses of dead processes. So each rank publishes a
    fresh UUID, and rank 0 reads them again, and announces a new prefix with them, until all ranks have acknowledged it. The keys:

        resnets/process_id/RANK      the UUID of the process of that rank
        resnets/announcement         the prefix and the UUIDs of the processes that it is for, as JSON
        resnets/acknowledged/PREFIX  the number of ranks that have acknowledged the prefix
        resnets/complete/PREFIX      is set when all of them have
    """
    own_id, prefix = uuid.uuid4().hex, ""
    known_ids: list[str] = []
    store.set(f"resnets/process_id/{rank}", own_id)
    deadline = time.monotonic() + timeout_seconds()
    while time.monotonic() < deadline:
        if rank == 0:
            ids = [store.get(f"resnets/process_id/{other}").decode() for other in range(size)]
            if ids != known_ids:
                prefix, known_ids = uuid.uuid4().hex, ids
                store.set("resnets/announcement", json.dumps([prefix, ids]))
            if store.add(f"resnets/acknowledged/{prefix}", 0) == size - 1:
                store.set(f"resnets/complete/{prefix}", "")
                return prefix
        elif store.check(["resnets/announcement"]):
            announced, ids = json.loads(store.get("resnets/announcement"))
            if len(ids) == size and ids[rank] == own_id:
                if announced != prefix:
                    prefix = announced
                    store.add(f"resnets/acknowledged/{prefix}", 1)
                if store.check([f"resnets/complete/{prefix}"]):
                    return prefix
        time.sleep(0.02)
    raise JobError(f"Rank {rank} timed out while waiting for the other {size - 1} processes.")


def is_main() -> bool:
    """Whether this is rank 0, which writes files and logs."""
    return ranks.rank() == 0


def broadcast_from_main(function: Callable[[], Value]) -> Value:
    """Call `function` on rank 0 and return its value on every rank; a UserError or JobError is raised on every rank."""
    if ranks.world_size() == 1:
        return function()
    result: list[Any] = [None, None]
    if is_main():
        try:
            result = [function(), None]
        except (UserError, JobError) as error:
            result = [None, error]
    dist.broadcast_object_list(result, src=0)
    if result[1] is not None:
        raise result[1]
    return result[0]


@contextlib.contextmanager
def main_lock(run: Path) -> Iterator[None]:
    """Lock the run directory on rank 0 for all ranks.

    Raises:
        UserError: another job has locked it.
    """
    with contextlib.ExitStack() as stack:
        broadcast_from_main(lambda: stack.enter_context(lock.run_lock(run)))
        yield


def all_gather_object(value: Value) -> list[Value]:
    """Return the values of all ranks, in the order of the ranks, on every rank."""
    if ranks.world_size() == 1:
        return [value]
    values: list[Any] = [None] * ranks.world_size()
    dist.all_gather_object(values, value)
    return values


def all_reduce_sum(*values: float) -> list[float]:
    """Return each value summed over all ranks, in float64."""
    if ranks.world_size() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def any_rank(condition: bool) -> bool:
    """Whether the condition is true on any rank."""
    return all_reduce_sum(float(condition))[0] > 0


def local_device(device: str) -> str:
    """Return the device of this rank: of several GPUs the one with its local rank as index.

    Raises:
        UserError: one GPU was requested for several processes, or there are fewer GPUs than processes.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or ranks.world_size() == 1:
        return device
    local_size = ranks.local_world_size()
    if number and local_size > 1:
        raise UserError(
            f"`device={device}` is one GPU for {local_size} processes: leave `device` out, so that each process takes its "
            "own GPU, or name the GPUs in CUDA_VISIBLE_DEVICES."
        )
    count = torch.cuda.device_count()
    if local_size > count > 0:
        raise UserError(
            f"There are {count} GPUs here for {local_size} processes: start as many processes as there are GPUs."
        )
    return device if number else f"cuda:{ranks.local_rank()}"


def wrap_ddp(net: nn.Module) -> nn.Module:
    """Return the network as DistributedDataParallel, which averages the gradients over all ranks."""
    if ranks.world_size() == 1:
        return net
    return DistributedDataParallel(net, gradient_as_bucket_view=True)


def no_sync_until_last(net: nn.Module, *, last: bool) -> contextlib.AbstractContextManager:
    """Context for one micro-batch: gradients are accumulated locally, and averaged over the ranks with the last micro-batch."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else contextlib.nullcontext()


@torch.no_grad()
def broadcast_buffers(net: nn.Module) -> None:
    """Copy the buffers of rank 0 to all ranks, since the batch norm of each rank has seen only its local batches."""
    if ranks.world_size() > 1:
        for buffer in net.buffers():
            dist.broadcast(buffer, src=0)


def convert_sync_batchnorm(net: nn.Module, device: str) -> nn.Module:
    """Replace each batch norm by one that takes its statistics over the batch of all ranks."""
    norms = [(path, module) for path, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    # torch's has a trained scale, which ShiftBatchNorm2d lacks.
    if device.startswith("cuda") and all(isinstance(norm.weight, nn.Parameter) for _, norm in norms):
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    for path, norm in norms:
        if norm is net:
            return SyncBatchNorm2d.from_batchnorm(norm)
        net.set_submodule(path, SyncBatchNorm2d.from_batchnorm(norm))
    return net


class _AllReduceSum(torch.autograd.Function):
    """The sum over all ranks; the loss of each rank depends on every term, so that the gradients are summed, too."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all ranks, on any device and also without a trained scale. `torch.nn.SyncBatchNorm` is faster,
    runs on GPUs only, and always trains its scale.
    """

    @classmethod
    def from_batchnorm(cls, norm: nn.BatchNorm2d) -> Self:
        """Return one that shares the parameters and buffers of `norm`."""
        sync = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        sync._parameters, sync._buffers = norm._parameters, norm._buffers
        return sync.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W) of any precision; B, H and W must be the same on all ranks."""
        if not self.training or ranks.world_size() == 1:
            return super().forward(x)
        dims, values = (0, 2, 3), x.float()
        count = values.numel() // values.shape[1] * ranks.world_size()
        mean = _AllReduceSum.apply(values.sum(dims)) / count
        centered = values - mean[:, None, None]
        variance = _AllReduceSum.apply(centered.square().sum(dims)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * count / (count - 1), momentum)
        output = centered * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            output = output * self.weight[:, None, None] + self.bias[:, None, None]
        return output.to(x.dtype)
