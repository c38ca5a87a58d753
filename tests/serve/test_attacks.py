"""Many hostile requests at once: the memory stays, nothing fails, and the next request is answered."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.serve.routes.test_predict import bombs
from tests.serve.running import END_SECONDS, Gate, images, running, serve, tiny_model

from resnets.serve.run import ModelServer
from resnets.serve.settings import ServerSettings

AT_ONCE = 32
QUEUE = 8
MAX_RISE_BYTES = 300e6


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(tiny_model())


@pytest.fixture(scope="module")
def server(gate: Gate) -> Iterator[tuple[str, ModelServer]]:
    with running([serve(gate.model)], ServerSettings(queue=QUEUE, batch=2)) as found:
        yield found


def peak_bytes() -> int:
    """The most memory since `forget_peak`."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: the peak becomes what is used now


def ask(address: str, contents: list[bytes]) -> Counter[int]:
    """The codes of the answers to requests that are sent at once."""
    with httpx.Client(base_url=address, timeout=END_SECONDS) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(lambda content: client.post("/v1/predict", content=content).status_code, contents))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux' /proc")
def test_bombs_take_no_memory(server: tuple[str, ModelServer]) -> None:
    ask(server[0], [images()[0]])
    forget_peak()
    before = peak_bytes()
    assert set(ask(server[0], (bombs() * AT_ONCE)[:AT_ONCE])) <= {422, 503}
    assert ask(server[0], [*bombs(), images()[0]]) == {422: 3, 200: 1}
    assert peak_bytes() - before < MAX_RISE_BYTES


def test_a_flood_is_answered_or_refused_at_once(server: tuple[str, ModelServer], gate: Gate) -> None:
    """While the network computes, as many images wait as may, and all others are refused before it is done."""
    address, running_server = server
    gate.close()
    with ThreadPoolExecutor(QUEUE) as pool:
        waiting = [pool.submit(ask, address, [images()[0]]) for _ in range(QUEUE)]
        metrics = running_server.batcher.metrics.registry
        gate.wait_for_batch()
        while metrics.get_sample_value("resnets_queue_length") != QUEUE:
            httpx.get(f"{address}/v2/health/live", timeout=END_SECONDS)
        assert ask(address, [images()[0]] * 100) == {503: 100}
        gate.opened.set()
        assert sum((each.result() for each in waiting), Counter()) == {200: QUEUE}
    assert ask(address, [images()[0]]) == {200: 1}
