"""Ray Data as the scheduler of parts: a dataset with a row for each part, and actors that each hold a model.

Ray may run a part twice, or lose what it says of one; what counts are the files that `PartPredictor` writes.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from resnets.disable_telemetry import telemetry_disabled
from resnets.errors import JobError, UserError
from resnets.inference.optional_packages import import_optional
from resnets.tasks.predict_parts.part import Part
from resnets.tasks.predict_parts.part_predictor import PartPredictor, PartsJob, Receipt

AUTO = "auto"
CPUS_PER_ACTOR = 2  # one reads and decodes while the network computes
CONNECT_SECONDS = 10.0
MOST_BLOCKS = 10_000  # of the dataset; each is a task of Ray
_OWN_ERROR = re.compile(r"^resnets\.errors\.\w+: (.*)$", re.MULTILINE)


def import_ray() -> Any:
    """`ray`, with `ray.data`. Raises UserError where it is not installed."""
    with telemetry_disabled():
        ray = import_optional("ray", "ray")
        import_optional("ray.data", "ray")
        return ray


def check_address(address: str) -> None:
    """Raise UserError where nothing answers at the address of a cluster; Ray would try for minutes."""
    if address == AUTO:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise UserError(
            f"`ray={address}`: no cluster answers{reason}. Give the address of its head, such as head:6379, or auto."
        ) from None


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Use a cluster: of an address, or "auto" for that of this machine, which is started if there is none.

    A program that has called `ray.init` keeps its cluster, and the settings of Ray Data are afterwards what they were.

    Raises:
        UserError: there is no such cluster.
    """
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])
        if started:
            ray.shutdown()


def device_of_actors(device: str) -> str:
    """The device of all actors: for "auto" a GPU if the connected cluster has one, else the CPU.

    Raises:
        UserError: it is one of a machine, such as "cuda:1", or the cluster has no GPU.
    """
    if device not in (AUTO, "cpu", "cuda"):
        raise UserError(
            f"With `ray`, `device` is auto, cpu or cuda; received '{device}'. Ray gives each process its GPU."
        )
    gpus = int(import_ray().cluster_resources().get("GPU", 0))
    if device == "cuda" and not gpus:
        raise UserError("`device=cuda`: the cluster of `ray` has no GPU.")
    return "cuda" if gpus and device != "cpu" else "cpu"


def predict(job: PartsJob, parts: Sequence[Part], actors: int | None = None) -> Iterator[Receipt | None]:
    """Let actors of the connected cluster compute parts; yields receipts in any order.

    Args:
        actors: number of processes; None for one for each GPU or, without GPUs, for each two CPUs of the cluster.

    Raises:
        UserError: there is no room for so many actors.
        JobError: a part cannot be computed.
    """
    ray = import_ray()
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if job.device == "cuda" else 0
    share = share_of_actors(int(resources.get("CPU", 1)), gpus, actors)
    if not parts:
        return
    try:
        yield from _run(ray, job, parts, share)
    except ray.exceptions.RayError as error:
        raise JobError(f"A part could not be computed: {reason_of(error)}") from error


class ActorsShare(NamedTuple):
    """How many actors there are at least and at most, and the CPUs and GPUs that Ray reserves for each."""

    fewest: int
    most: int
    cpus: int
    gpus: int


def share_of_actors(cpus: int, gpus: int, actors: int | None) -> ActorsShare:
    """The share of each actor in a cluster; without `actors`, one for each GPU or, without GPUs, for each two CPUs.

    Raises:
        UserError: `actors` is below 1, or there is no room for so many; Ray would wait for it.
    """
    if actors is not None and actors < 1:
        raise UserError(f"`ray_actors` must be 1 or more; received {actors}.")
    room = min(gpus, cpus) if gpus else cpus
    if actors is not None and actors > room:
        has = f"{cpus} CPUs and {gpus} GPUs" if gpus else f"{cpus} CPUs"
        raise UserError(f"`ray_actors={actors}`: the cluster has {has}, so at most {max(room, 1)} actors have room.")
    most = actors or gpus or max(cpus // CPUS_PER_ACTOR, 1)
    return ActorsShare(actors or 1, most, CPUS_PER_ACTOR if cpus >= most * CPUS_PER_ACTOR else 1, 1 if gpus else 0)


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {} if address == AUTO else {"address": address}
    try:
        with telemetry_disabled():
            ray.init(**options, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"`ray={address}`: the cluster cannot be used: {reason_of(error)}") from error


def _run(ray: Any, job: PartsJob, parts: Sequence[Part], share: ActorsShare) -> Iterator[Receipt | None]:
    if job.workers is None:
        job = replace(job, workers=max(int(ray.cluster_resources().get("CPU", 1)) // share.most, 1))
    rows = [part._asdict() for part in parts]
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map_batches(
        _Actor,
        fn_constructor_args=(job, os.getcwd()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=min(share.fewest, len(rows)), max_size=min(share.most, len(rows))),
        num_cpus=share.cpus,
        num_gpus=share.gpus,
    )
    for row in dataset.iter_rows():
        yield Receipt(row["part"], row["rows"], row["errors"], row["seconds"]) if row["rows"] else None


class _Actor:
    """A process of Ray with a model."""

    def __init__(self, job: PartsJob, working_directory: str) -> None:
        try:
            os.chdir(working_directory)  # from which relative paths lead
        except OSError as error:
            raise JobError(f"The folder '{working_directory}' is not on this machine: {error.strerror}.") from None
        self.predictor = PartPredictor(job)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        rows = zip(*(batch[name].tolist() for name in Part._fields), strict=True)
        parts = [Part(*row) for row in rows]
        receipts = [self.predictor.predict(part) or Receipt(part.number, 0, 0, 0.0) for part in parts]
        return {name: [getattr(each, name) for each in receipts] for name in Receipt._fields}


def reason_of(error: BaseException | None) -> str:
    """The message of the error of resnets within one of Ray, which holds the traceback of another process; else its last line."""
    text = ""
    while error is not None:
        text, error = f"{text}{error}\n", error.__cause__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(iter(_OWN_ERROR.findall(text)), lines[-1] if lines else "it gives no reason")
