"""Start a server, send it requests from 16 connections, and end it.

serve_load.py FOLDER [--body json|raw] [--latency] -- COMMAND ... PORT

FOLDER has the JPEGs that are sent. `PORT` in the command is replaced by a free port.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import report
from http_load import Connection, Load, Request, at_random_moments, closed_loop

CONNECTIONS = 16
START_SECONDS = 120.0
PART_OF_SATURATION = 0.8


def requests(folder: Path, port: int, body: str, path: str) -> list[Request]:
    """One for each image, with its bytes or with JSON that has their base64."""
    found = []
    for file in sorted(folder.rglob("*.jpg")):
        content = file.read_bytes()
        if body == "json":
            text = json.dumps({"image": base64.b64encode(content).decode()})
            found.append(Request(port, path, "application/json", text.encode()))
        else:
            found.append(Request(port, path, "image/jpeg", content))
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_it_answers(request: Request, server: subprocess.Popen[bytes]) -> None:
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last and server.poll() is None:
        try:
            asyncio.run(Connection().ask(request))
            return
        except (OSError, RuntimeError, asyncio.IncompleteReadError):
            time.sleep(0.2)
    raise SystemExit(f"the server did not answer; it ended with {server.poll()}")


def processes_of(session: int) -> list[Path]:
    """The folders in /proc of all processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(folder)
    return found


def memory_bytes(session: int, kind: str) -> int:
    """Of all processes of a session: with "Pss" what several share counts once, with "Rss" for each of them."""
    total = 0
    for folder in processes_of(session):
        rows = (folder / "smaps_rollup").read_text().splitlines()
        total += sum(int(row.split()[1]) * 1024 for row in rows if row.startswith(f"{kind}:"))
    return total


def cpu_seconds(session: int) -> float:
    """Of all living processes of a session."""
    ticks = 0
    for folder in processes_of(session):
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def in_milliseconds(load: Load) -> dict[str, float]:
    return {f"p{percent}_ms": 1000 * load.percentile(percent) for percent in (50, 95, 99)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--body", choices=("json", "raw"), default="json")
    parser.add_argument("--path", default="/predict")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--latency", action="store_true", help="also of single requests, and at random moments")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    port = free_port()
    sent = requests(options.folder, port, options.body, options.path)
    command = [str(port) if word == "PORT" else word for word in options.command]
    server = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        wait_until_it_answers(sent[0], server)
        asyncio.run(closed_loop(sent, connections=CONNECTIONS, seconds=options.seconds / 4))  # a warm-up
        before = cpu_seconds(server.pid)
        load = asyncio.run(closed_loop(sent, connections=CONNECTIONS, seconds=options.seconds))
        cpu = cpu_seconds(server.pid) - before
        shared_once, resident = (memory_bytes(server.pid, kind) for kind in ("Pss", "Rss"))
        more: dict[str, object] = {}
        if options.latency:
            alone = asyncio.run(closed_loop(sent, connections=1, seconds=options.seconds / 2))
            number = max(int(load.rate * options.seconds), 20)
            spread = asyncio.run(at_random_moments(sent, rate=PART_OF_SATURATION * load.rate, number=number))
            more = {
                "single": in_milliseconds(alone),
                "at_0.8_of_saturation": {"requests": number, **in_milliseconds(spread)},
            }
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
    report(
        len(load.latencies_seconds),
        load.seconds,
        peak_memory_bytes=shared_once,
        resident_bytes=resident,
        cpu_seconds=cpu,
        **in_milliseconds(load),
        **more,
    )


if __name__ == "__main__":
    main()
