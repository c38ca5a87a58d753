"""Ray Data as the scheduler of parts: a dataset with a row for each part, and actors that each hold a model.

Ray may run a part twice, or lose what it says of one; what counts are the files that `Scorer` writes.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from resnets.disable_telemetry import telemetry_disabled
from resnets.errors import JobError, UserError
from resnets.inference.optional_packages import import_optional
from resnets.tasks.predict_parts.image_list import Part
from resnets.tasks.predict_parts.scorer import PartsJob, Receipt, Scorer

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


def score(job: PartsJob, parts: Sequence[Part], address: str, actors: int | None = None) -> Iterator[Receipt | None]:
    """Let actors compute parts; yields receipts in any order.

    Args:
        address: of a cluster; "auto" for that of this machine, which is started if there is none. A program that has called
            `ray.init` keeps its cluster.
        actors: number of processes; None for one for each GPU or, without GPUs, for each two CPUs of the cluster.

    Raises:
        UserError: there is no such cluster.
        JobError: a part cannot be computed.
    """
    if actors is not None and actors < 1:
        raise UserError(f"`ray_actors` must be 1 or more; received {actors}.")
    if not parts:
        return
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        yield from _run(ray, job, parts, actors)
    except ray.exceptions.RayError as error:
        raise JobError(f"A part could not be computed: {reason_of(error)}") from error
    finally:
        if started:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {} if address == AUTO else {"address": address}
    try:
        with telemetry_disabled():
            ray.init(**options, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"`ray={address}`: the cluster cannot be used: {reason_of(error)}") from error


def _run(ray: Any, job: PartsJob, parts: Sequence[Part], actors: int | None) -> Iterator[Receipt | None]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    resources = ray.cluster_resources()
    cpus = int(resources.get("CPU", 1))
    gpus = 0 if job.device == "cpu" else int(resources.get("GPU", 0))
    most = actors or gpus or max(cpus // CPUS_PER_ACTOR, 1)
    if job.workers is None:
        job = replace(job, workers=max(cpus // most, 1))
    rows = [part._asdict() for part in parts]
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map_batches(
        _Actor,
        fn_constructor_args=(job, os.getcwd()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=min(actors or 1, len(rows)), max_size=min(most, len(rows))),
        num_cpus=CPUS_PER_ACTOR if cpus >= most * CPUS_PER_ACTOR else 1,
        num_gpus=1 if gpus else 0,
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
        self.scorer = Scorer(job)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        rows = zip(*(batch[name].tolist() for name in Part._fields), strict=True)
        parts = [Part(*row) for row in rows]
        receipts = [self.scorer.score(part) or Receipt(part.number, 0, 0, 0.0) for part in parts]
        return {name: [getattr(each, name) for each in receipts] for name in Receipt._fields}


def reason_of(error: BaseException | None) -> str:
    """The message of the error of resnets within one of Ray, which holds the traceback of another process; else its last line."""
    text = ""
    while error is not None:
        text, error = f"{text}{error}\n", error.__cause__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(iter(_OWN_ERROR.findall(text)), lines[-1] if lines else "it gives no reason")
