"""What the processes of one run say to each other, over gloo or NCCL; a single process only talks to itself.

The first process alone writes. Each takes the same share of every batch, and the gradients are averaged, so that
together they take the steps of one process at the whole batch; only BN sees a share, unless it is synchronized.
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
from resnets.errors import JobError, UserError
from resnets.training.run_dir import lock

Value = TypeVar("Value")

_jobs = itertools.count()  # a script may train several times, one job after the other


class LaunchAttempt:
    """One start of a job; a launcher that begins it anew keeps a store in which the next attempt finds what it needs."""

    def __init__(self, store: dist.Store | None, job: int) -> None:
        self._store, self._key = store, f"resnets/run/{job}"

    def save_run_dir(self, run: Path) -> None:
        """Let a later attempt find the run that this one has begun."""
        if self._store is not None and is_main():
            self._store.set(self._key, str(run))

    def load_run_dir(self) -> Path | None:
        """The run that an earlier attempt has begun."""
        store = self._store
        found = store is not None and broadcast_from_main(lambda: store.check([self._key]) and store.get(self._key))
        return Path(found.decode()) if found else None


@contextlib.contextmanager
def process_group() -> Iterator[LaunchAttempt]:
    """Be one of the processes that the launcher has started, for the time of the block.

    Raises:
        UserError: the variables of a launcher are set as none sets them.
        JobError: another process has ended in the midst of it.
    """
    if (fault := ranks.launcher_error()) is not None:
        raise UserError(
            f"{fault}: a launcher sets all of them. Start the job with torchrun; if another program has left them behind, "
            "`unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE`."
        )
    ranks.timeout_seconds()  # so that a wrong one is refused before it is needed
    if not ranks.started_by_launcher():
        yield LaunchAttempt(None, 0)
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(ranks.local_rank() % torch.cuda.device_count())
    store, rank, size = _launcher_store(), ranks.rank(), ranks.world_size()
    try:
        group_store = dist.PrefixStore(_rendezvous(store, rank, size), store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo", store=group_store, rank=rank, world_size=size, timeout=_timeout()
        )
        yield LaunchAttempt(store, next(_jobs))
    except JobError:
        raise
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or ranks.is_connection_error(error):
            raise JobError(
                f"Process {rank} lost the others: one of them has ended, and its own message says why, or has not answered for "
                f"{ranks.timeout_seconds() / 60:g} minutes (RESNETS_TIMEOUT_MINUTES). "
                f"({str(error).splitlines()[0][:200]})"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _timeout() -> timedelta:
    """How long the others are waited for, in one step or while images are read before the first.

    That a process has died gloo notices at once, by its closed connections; where NCCL does not, torchrun does, and ends the
    others. One that is stopped or stuck is noticed by this time only.
    """
    return timedelta(seconds=ranks.timeout_seconds())


@functools.cache
def _launcher_store() -> dist.Store:
    """The launcher's store, or the first process' own; kept, so that the next job of a script finds it still there."""
    return next(dist.rendezvous("env://", timeout=_timeout()))[0]


def _rendezvous(store: dist.Store, rank: int, size: int) -> str:
    """A name that only the processes of this attempt know.

    torchrun keeps one store for all attempts of a job, in which the addresses of dead processes would be taken for those
    of the living. So each process leaves a word that nobody has used before, and the first one collects the words anew
    until all have answered to its own.
    """
    mine, name = uuid.uuid4().hex, ""
    known: list[str] = []
    store.set(f"resnets/here/{rank}", mine)
    deadline = time.monotonic() + ranks.timeout_seconds()
    while time.monotonic() < deadline:
        if rank == 0:
            words = [store.get(f"resnets/here/{other}").decode() for other in range(size)]
            if words != known:
                name, known = uuid.uuid4().hex, words
                store.set("resnets/go", json.dumps([name, words]))
            if store.add(f"resnets/met/{name}", 0) == size - 1:
                store.set(f"resnets/all/{name}", "")
                return name
        elif store.check(["resnets/go"]):
            called, words = json.loads(store.get("resnets/go"))
            if len(words) == size and words[rank] == mine:
                if called != name:
                    name = called
                    store.add(f"resnets/met/{name}", 1)
                if store.check([f"resnets/all/{name}"]):
                    return name
        time.sleep(0.02)
    raise JobError(f"Process {rank} has waited in vain for the other {size - 1} processes.")


def is_main() -> bool:
    """Whether this is the process that writes."""
    return ranks.rank() == 0


def broadcast_from_main(make: Callable[[], Value]) -> Value:
    """What the first process makes, in every process; an error that is the user's is raised in every one."""
    if ranks.world_size() == 1:
        return make()
    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer = [make(), None]
        except (UserError, JobError) as error:
            answer = [None, error]
    dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


@contextlib.contextmanager
def main_lock(run: Path) -> Iterator[None]:
    """Let the first process hold the run folder for all.

    Raises:
        UserError: another job holds it.
    """
    with contextlib.ExitStack() as stack:
        broadcast_from_main(lambda: stack.enter_context(lock.run_lock(run)))
        yield


def all_gather_object(mine: Value) -> list[Value]:
    """What each process gives, in the order of their numbers, in every process."""
    if ranks.world_size() == 1:
        return [mine]
    everyone: list[Any] = [None] * ranks.world_size()
    dist.all_gather_object(everyone, mine)
    return everyone


def all_reduce_sum(*values: float) -> list[float]:
    """Each value summed over all processes."""
    if ranks.world_size() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(sums)
    return sums.tolist()


def any_rank(mine: bool) -> bool:
    """Whether it is so in any of the processes."""
    return all_reduce_sum(float(mine))[0] > 0


def local_device(device: str) -> str:
    """The device of this process: of several GPUs the one that has its number.

    Raises:
        UserError: one GPU was asked for, which several processes cannot use together, or there are too few.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or ranks.world_size() == 1:
        return device
    here = ranks.local_world_size()
    if number and here > 1:
        raise UserError(
            f"`device={device}` is one GPU for {here} processes: leave `device` out, so that each takes the GPU of its number, "
            "or name the GPUs in CUDA_VISIBLE_DEVICES."
        )
    count = torch.cuda.device_count()
    if here > count > 0:
        raise UserError(f"There are {count} GPUs here for {here} processes: start as many processes as there are GPUs.")
    return device if number else f"cuda:{ranks.local_rank()}"


def wrap_ddp(net: nn.Module) -> nn.Module:
    """The network as it is called in training: its gradients are the mean over all processes."""
    if ranks.world_size() == 1:
        return net
    return DistributedDataParallel(net, gradient_as_bucket_view=True)


def no_sync_until_last(net: nn.Module, *, last: bool) -> contextlib.AbstractContextManager:
    """The slices of a batch before the last one add up gradients in each process; with the last one they are averaged."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) and not last else contextlib.nullcontext()


@torch.no_grad()
def broadcast_buffers(net: nn.Module) -> None:
    """Give every process the statistics that the first one has: each BN has seen its own share of the last batch."""
    if ranks.world_size() > 1:
        for buffer in net.buffers():
            dist.broadcast(buffer, src=0)


def convert_sync_batchnorm(net: nn.Module, device: str) -> nn.Module:
    """Let every BN take its statistics over the whole batch instead of over the share of its process."""
    if device.startswith("cuda"):
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    if isinstance(net, nn.BatchNorm2d):
        return CPUSyncBatchNorm.from_batchnorm(net)
    for path, module in list(net.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            net.set_submodule(path, CPUSyncBatchNorm.from_batchnorm(module))
    return net


class _AllReduceSum(torch.autograd.Function):
    """The sum over all processes; each process' loss depends on every share of it, so that the gradients add up, too."""

    @staticmethod
    def forward(_: Any, mine: Tensor) -> Tensor:
        summed = mine.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """BN over the shares of all processes, for the CPU: torch's own `SyncBatchNorm` runs on GPUs only."""

    @classmethod
    def from_batchnorm(cls, norm: nn.BatchNorm2d) -> Self:
        """One with the tensors of `norm` themselves."""
        sync = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        sync._parameters, sync._buffers = norm._parameters, norm._buffers
        return sync.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) of any precision; the same number of values in each process."""
        if not self.training or ranks.world_size() == 1:
            return super().forward(x)
        over, values = (0, 2, 3), x.float()
        count = values.numel() // values.shape[1] * ranks.world_size()
        mean = _AllReduceSum.apply(values.sum(over)) / count
        centered = values - mean[:, None, None]
        variance = _AllReduceSum.apply(centered.square().sum(over)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * count / (count - 1), share)
        output = centered * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            output = output * self.weight[:, None, None] + self.bias[:, None, None]
        return output.to(x.dtype)
