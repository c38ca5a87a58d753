"""Changed requests and slow clients, sent to `resnets serve`: it answers none with 500, and all others are answered meanwhile.

    python tests/soak/hostile_clients.py --requests 50000 --sockets 200

Each request is a valid one (an image, a form, JSON, a tensor) with changes of its bytes, in the body or in the header. After each
hundred of them an unchanged one must have the right answer. Then clients that send a byte a second, of a header or of a body, or
send nothing, open as many sockets as are asked for: each must be closed within 31 seconds, and the 99th percentile of the time of
valid requests must stay below twice that without them. The exit code after SIGTERM must be 0; that of this script is 1 when
anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import resnets

sys.path.insert(0, str(Path(__file__).parent))
from mutations import mutate
from serving import MODEL, TOLERANCE, Client, write_images

PATIENCE_SECONDS = 0.5  # for the answer to a changed request
SLOW_SECONDS = 31.0
TIMED = 500  # requests whose time is measured
MOST_SLOWER = 2.0


def requests(contents: list[bytes], port: int) -> list[tuple[bytes, bytes]]:
    """The head and the body of a valid request of each kind."""
    host = f"Host: 127.0.0.1:{port}\r\n".encode()

    def post(path: str, body: bytes, *headers: str) -> tuple[bytes, bytes]:
        lines = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
        return f"POST {path} HTTP/1.1\r\n".encode() + host + lines.encode() + b"\r\n", body

    image = contents[0]
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + image + b"\r\n--b--\r\n"
    text = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    bytes_input = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(image).decode()]}
    pixels = {"name": "pixels", "shape": [1, 4, 4, 3], "datatype": "UINT8", "data": list(range(48))}
    binary = {"name": "pixels", "shape": [1, 4, 4, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 48}}
    header = json.dumps({"inputs": [binary]}).encode()
    infer = f"/v2/models/{MODEL}/infer"
    return [
        *(post("/v1/predict?top_k=3", content) for content in contents),
        post("/v1/predict?heatmap=1", image),
        post("/v1/predict", form, "Content-Type: multipart/form-data; boundary=b"),
        post("/v1/predict", text, "Content-Type: application/json"),
        post(infer, json.dumps({"inputs": [bytes_input]}).encode(), "Content-Type: application/json"),
        post(infer, json.dumps({"id": "1", "inputs": [pixels]}).encode(), "Content-Type: application/json"),
        post(infer, header + bytes(range(48)), f"Inference-Header-Content-Length: {len(header)}"),
        (b"GET /v1/model HTTP/1.1\r\n" + host + b"Accept: */*\r\n\r\n", b""),
    ]


class Attack:
    def __init__(self, port: int, paths: list[Path]) -> None:
        self.port = port
        self.contents = [path.read_bytes() for path in paths]
        self.expected = resnets.load(MODEL).predict(list(map(str, paths)))
        self.valid = requests(self.contents[:6], port)
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []

    def changed(self, number: int) -> bytes:
        chance = random.Random(number)
        head, body = chance.choice(self.valid)
        other_head, other_body = chance.choice(self.valid)
        if body and chance.random() < 0.8:
            return head + mutate(body, chance, other_body or other_head)
        return mutate(head, chance, other_head) + body

    async def send_changed(self, number: int) -> None:
        """Send a changed request, and read how its answer begins. One that the server waits for more of is given up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.changed(number))
            start = await asyncio.wait_for(reader.read(12), PATIENCE_SECONDS)
            code = start[9:12].decode("latin-1") if start.startswith(b"HTTP/1.1 ") else "closed"
        except TimeoutError:
            code = "given up"
        except ConnectionError:
            code = "closed"
        writer.close()
        self.codes[code] += 1
        if code == "500":
            self.wrong.append(f"request {number}: 500")

    async def fuzz(self, count: int, connections: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await self.send_changed(number)
                if number % 100 == 99:
                    await self.ask(Client(self.port), number % len(self.contents))

        await asyncio.gather(*(work() for _ in range(connections)))

    async def ask(self, client: Client, index: int) -> float:
        """Send a valid request, check its answer, and return how long it took."""
        start = time.perf_counter()
        await client.send(self.contents[index])
        status, answer = await client.receive()
        took = time.perf_counter() - start
        right = self.expected[index]
        is_right = status == 200 and answer["label"] == right.label
        if not is_right or abs(answer["probability"] - right.probability) > TOLERANCE:  # type: ignore[operator]
            self.wrong.append(f"image {index}: {status} {answer}, and not {right.label} {right.probability}")
        return took

    async def p99_seconds(self) -> float:
        client = Client(self.port)
        times = sorted([await self.ask(client, number % len(self.contents)) for number in range(TIMED)])
        client.give_up()
        return times[round(0.99 * TIMED)]

    async def be_slow(self, number: int) -> float:
        """A client that sends a byte a second, or nothing; how long its connection lasted."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        start = time.monotonic()
        head, body = self.valid[0]
        begin, byte = ((head[:20], b"x"), (head + body[:100], b"x"), (b"", b""))[number % 3]
        writer.write(begin)
        while time.monotonic() - start < 2 * SLOW_SECONDS:
            try:
                if not await asyncio.wait_for(reader.read(100), 1.0):
                    break
            except TimeoutError:
                writer.write(byte)
            except ConnectionError:
                break
        writer.close()
        return time.monotonic() - start

    async def slow(self, count: int) -> tuple[float, float, float]:
        """The 99th percentile of the time of a request before and with slow clients, and their longest connection."""
        alone = await self.p99_seconds()
        clients = [asyncio.create_task(self.be_slow(number)) for number in range(count)]
        await asyncio.sleep(0)
        beside = await self.p99_seconds()
        return alone, beside, max(await asyncio.gather(*clients))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--sockets", type=int, default=200)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "resnets", "serve", MODEL, "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
                attack = Attack(port, paths)
                asyncio.run(attack.fuzz(arguments.requests, arguments.connections))
                alone, beside, longest = asyncio.run(attack.slow(arguments.sockets))
            finally:
                server.send_signal(signal.SIGTERM)
        code = server.returncode
    print(f"{arguments.requests:,} changed requests: {dict(attack.codes.most_common())}")
    print(f"{arguments.sockets} slow sockets: each closed within {longest:.1f} s")
    print(f"99 % of the valid requests within {1000 * alone:.0f} ms before, {1000 * beside:.0f} ms with them")
    print(f"{len(attack.wrong)} wrong answers; exit code {code}", *attack.wrong[:5], sep="\n")
    return int(bool(attack.wrong) or longest > SLOW_SECONDS or beside > MOST_SLOWER * alone or code != 0)


if __name__ == "__main__":
    sys.exit(main())
