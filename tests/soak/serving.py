"""Many requests to `resnets serve`, some of them broken, given up or hostile: every valid one has its own right answer.

    python tests/soak/serving.py --requests 100000

A hundredth of the requests hold a broken image, a hundredth are given up by their client in the middle or before the answer,
and a thousandth hold an image that claims 4 billion pixels. All other answers must be those of `resnets predict`; the memory
after all requests must be at most 1.05 times that after a tenth of them, and there must be no more open files. Then SIGTERM comes
while requests arrive: they must be answered, and the exit code of the server must be 0. The exit code of this script is 1 when
anything differs, or when an answer takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import resnets

MODEL = "cifar_resnet20.cifar10"
IMAGES = 200
BROKEN, GIVEN_UP, BOMBS = 0.01, 0.01, 0.001  # parts of the requests
MEMORY_LIMIT = 1.05
ANSWER_SECONDS = 60.0
BODY_SECONDS = 40.0  # by which the server has closed every connection whose request did not come to its end
TOLERANCE = 1e-5  # of a probability: batches of other sizes round differently


def write_images(folder: Path) -> list[Path]:
    """Blurred noise of several sizes, as PNG and JPEG."""
    draws = np.random.default_rng(0)
    paths = []
    for number in range(IMAGES):
        width, height = draws.integers(20, 200, 2).tolist()
        image = Image.fromarray(draws.integers(0, 256, (5, 5, 3), np.uint8)).resize((width, height))
        paths.append(folder / f"{number:03}{('.png', '.jpg')[number % 2]}")
        image.save(paths[-1])
    return paths


def bomb() -> bytes:
    """A PNG of a hundred bytes that claims 65,535 x 65,535 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


class Client:
    """One connection, which is opened again after it was given up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, content: bytes, part: float = 1.0) -> None:
        """Send a request, or its first part."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(content)}\r\n\r\n"
        message = head.encode() + content
        self.writer.write(message[: round(part * len(message))])
        await self.writer.drain()

    async def receive(self) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of the answer."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)\r\ncontent-length: *(\d+)", head)
            assert length is not None
            return int(head.split()[1]), json.loads(await self.reader.readexactly(int(length[1])))

    async def begin(self, content: bytes) -> None:
        """Send the header of a request, and wait until the server asks for its body."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(content)}\r\n"
        self.writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
        async with asyncio.timeout(ANSWER_SECONDS):
            assert b" 100 " in await self.reader.readuntil(b"\r\n\r\n")

    def give_up(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


class Soak:
    """The requests, the right answers, and what was found."""

    def __init__(self, port: int, paths: list[Path]) -> None:
        self.port = port
        self.contents = [path.read_bytes() for path in paths]
        self.expected = resnets.load(MODEL).predict(list(map(str, paths)))
        self.found: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, first: int, last: int, connections: int) -> None:
        numbers = iter(range(first, last))

        async def work() -> None:
            client = Client(self.port)
            for number in numbers:
                await self.request(client, random.Random(number))
            client.give_up()

        await asyncio.gather(*(work() for _ in range(connections)))

    async def drain(self, pid: int, connections: int) -> None:
        """End the server while requests arrive."""
        clients = [Client(self.port) for _ in range(connections)]
        for client, content in zip(clients, self.contents, strict=False):
            await client.begin(content)
        os.kill(pid, signal.SIGTERM)
        for index, (client, content) in enumerate(zip(clients, self.contents, strict=False)):
            assert client.writer is not None
            client.writer.write(content)
            self.check(index, *await client.receive())
            self.found["answered after SIGTERM"] += 1

    async def request(self, client: Client, draws: random.Random) -> None:
        index, kind = draws.randrange(len(self.contents)), draws.random()
        content = self.contents[index]
        if kind < GIVEN_UP:
            part = draws.choice((draws.random(), 1.0))
            await client.send(content, part)
            client.give_up()
            self.found["given up"] += 1
            return
        is_bomb = kind > 1 - BOMBS
        is_broken = GIVEN_UP < kind < GIVEN_UP + BROKEN
        await client.send(bomb() if is_bomb else content[: len(content) // 2] if is_broken else content)
        status, answer = await client.receive()
        self.found[str(status)] += 1
        if is_bomb or is_broken:
            if status != 422 or not answer["error"]:
                self.wrong.append(f"an image that cannot be read: {status} {answer}")
            return
        self.check(index, status, answer)

    def check(self, index: int, status: int, answer: dict[str, Any]) -> None:
        right = self.expected[index]
        if (
            status != 200
            or answer["label"] != right.label
            or abs(answer["probability"] - right.probability) > TOLERANCE
        ):
            self.wrong.append(f"image {index}: {status} {answer}, and not {right.label} {right.probability}")


def memory_and_files(pid: int) -> tuple[int, int]:
    """The bytes in memory and the number of open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory = re.search(r"VmRSS:\s+(\d+)", status)
    assert memory is not None
    return 1024 * int(memory[1]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=10)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "resnets", "serve", MODEL, "--port", "0", "--no-page"]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder))
        log = Path(folder) / "log"
        with (
            log.open("w") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as server,
        ):
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
                soak = Soak(port, paths)
                tenth = arguments.requests // 10
                asyncio.run(soak.run(0, tenth, arguments.connections))
                early = memory_and_files(server.pid)
                asyncio.run(soak.run(tenth, arguments.requests, arguments.connections))
                late = memory_and_files(server.pid)
                last = time.monotonic() + BODY_SECONDS
                while (
                    late[1] > early[1] and time.monotonic() < last
                ):  # connections that clients have left are being closed
                    time.sleep(0.1)
                    late = memory_and_files(server.pid)
                asyncio.run(soak.drain(server.pid, arguments.connections))
            except BaseException:
                server.kill()
                raise
            finally:
                code = server.wait()
                failures = [line for line in log.read_text().splitlines() if "Error" in line or "Traceback" in line]
    print(
        f"{arguments.requests:,} requests: {dict(soak.found)}, {len(soak.wrong)} wrong answers",
        *soak.wrong[:5],
        sep="\n",
    )
    print(
        f"memory {early[0] / 1e6:.0f} MB, then {late[0] / 1e6:.0f} MB; open files {early[1]}, then {late[1]}; exit code {code}"
    )
    print(f"{len(failures)} errors in its log", *failures[:5], sep="\n")
    grown = late[0] > MEMORY_LIMIT * early[0] or late[1] > early[1]
    return int(bool(soak.wrong) or grown or code != 0 or bool(failures))


if __name__ == "__main__":
    sys.exit(main())
