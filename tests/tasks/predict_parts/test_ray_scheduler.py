"""What Ray is asked for; `tests/soak/parts_on_ray.py` runs a cluster."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from resnets.disable_telemetry import telemetry_disabled
from resnets.errors import UserError
from resnets.tasks.predict_parts import ray_scheduler


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'resnets\[ray\]'"):
        ray_scheduler.import_ray()


def test_ray_reports_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)  # which the tests set for their process
    with telemetry_disabled():
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


@pytest.mark.parametrize("address", ["nonsense", "head", "127.0.0.1:", "ray://[::1]:x"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="no cluster answers"):
        ray_scheduler.check_address(address)


def test_an_address_at_which_nothing_answers_is_refused() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="no cluster answers: Connection refused"):
            ray_scheduler.check_address(address)
        server.listen()
        ray_scheduler.check_address(address)
    ray_scheduler.check_address("auto")


def test_the_error_of_another_process_is_found_in_that_of_ray() -> None:
    traceback = (
        "ray::MapWorker.submit()\n  File x\nresnets.errors.JobError: the disk is full.\nTo change retry attempts"
    )
    error = RuntimeError("a task has failed\n")
    error.__cause__ = RuntimeError(traceback)
    assert ray_scheduler.reason_of(error) == "the disk is full."
    assert ray_scheduler.reason_of(RuntimeError("first\n\nlast\n")) == "last"
    assert ray_scheduler.reason_of(RuntimeError()) == "it gives no reason"


@pytest.mark.parametrize(
    ("cluster", "share"),
    [
        ((8, 0, None), (1, 4, 2, 0)),
        ((1, 0, None), (1, 1, 1, 0)),
        ((8, 0, 6), (6, 6, 1, 0)),
        ((16, 2, None), (1, 2, 2, 1)),
        ((16, 2, 1), (1, 1, 2, 1)),
    ],
)
def test_the_share_of_an_actor(cluster: tuple[int, int, int | None], share: tuple[int, int, int, int]) -> None:
    found = ray_scheduler.share_of_actors(*cluster)
    assert found == share
    assert found.most * found.cpus <= cluster[0]
    assert found.most * found.gpus <= cluster[1]


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ((8, 0, 0), "must be 1 or more; received 0"),
        ((8, 0, 9), "has 8 CPUs, so at most 8 actors"),
        ((16, 2, 8), "has 16 CPUs and 2 GPUs, so at most 2 actors"),
    ],
)
def test_actors_that_would_wait_for_ever_are_refused(cluster: tuple[int, int, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ray_scheduler.share_of_actors(*cluster)
