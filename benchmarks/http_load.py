"""Load on an HTTP server: requests one after the other on several connections, or at random moments."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

CONNECTIONS = 256  # at random moments: as many requests may be open at once


@dataclass(frozen=True)
class Request:
    """A POST to a server on this machine."""

    port: int
    path: str
    content_type: str
    body: bytes

    def to_bytes(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: {self.content_type}\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass(frozen=True)
class Load:
    """What was measured: `latencies_seconds` of all answers, sorted, and the time from the first request to the last answer."""

    latencies_seconds: Sequence[float]
    seconds: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_seconds) / self.seconds

    def percentile(self, percent: float) -> float:
        """The latency in seconds that `percent` % of the answers have at most."""
        return self.latencies_seconds[
            min(int(len(self.latencies_seconds) * percent / 100), len(self.latencies_seconds) - 1)
        ]


class Connection:
    """A connection that is kept for all requests."""

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, request: Request) -> bytes:
        """The body of the answer.

        Raises:
            RuntimeError: its status is not 200.
        """
        if self.reader is None or self.reader.at_eof():  # servers close connections that are idle
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", request.port)
        self.writer.write(request.to_bytes())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0])
        body = await self.reader.readexactly(length)
        if not head.startswith("http/1.1 200"):
            raise RuntimeError(f"{head.splitlines()[0]}: {body[:200]!r}")
        return body


async def closed_loop(requests: Sequence[Request], *, connections: int, seconds: float) -> Load:
    """Each connection sends its next request when the answer to the last one is there."""
    latencies: list[float] = []
    numbers = count()
    start = time.perf_counter()

    async def ask_on() -> None:
        connection = Connection()
        while time.perf_counter() - start < seconds:
            sent = time.perf_counter()
            await connection.ask(requests[next(numbers) % len(requests)])
            latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(ask_on() for _ in range(connections)))
    return Load(sorted(latencies), time.perf_counter() - start)


async def at_random_moments(requests: Sequence[Request], *, rate: float, number: int, seed: int = 0) -> Load:
    """`number` requests at moments of a Poisson process of `rate` a second; a latency begins at that moment.

    A loop that waits for answers would send less while the server is slow, and hide it.
    """
    draws = random.Random(seed)
    idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()  # few connections are used while few are needed
    for _ in range(CONNECTIONS):
        idle.put_nowait(Connection())
    latencies: list[float] = []
    start = moment = time.perf_counter()

    async def ask(request: Request, scheduled: float) -> None:
        await asyncio.sleep(max(scheduled - time.perf_counter(), 0))
        connection = await idle.get()
        await connection.ask(request)
        latencies.append(time.perf_counter() - scheduled)
        idle.put_nowait(connection)

    tasks = []
    for index in range(number):
        moment += draws.expovariate(rate)
        tasks.append(asyncio.create_task(ask(requests[index % len(requests)], moment)))
    await asyncio.gather(*tasks)
    return Load(sorted(latencies), time.perf_counter() - start)
