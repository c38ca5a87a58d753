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


def test_ray_reports_to_nobody() -> None:
    with telemetry_disabled():
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


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
