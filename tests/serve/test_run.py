"""The process: its address, its end by signals, its log, and addresses that are refused."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import exported_files, forked_processes
from tests.serve.running import END_SECONDS, Gate, images, reference, running, serve, serve_to_end, tiny_model

import resnets
from resnets.errors import JobError, UserError
from resnets.serve import run
from resnets.serve.run import ModelServer
from resnets.serve.settings import ServerSettings

COMMAND = [
    sys.executable,
    "-m",
    "resnets",
    "serve",
    str(exported_files.checkpoint_file()),
    "--port",
    "0",
    "--precision",
    "fp32",
]


@contextlib.contextmanager
def process(*words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, and the process."""
    environment = os.environ | {"PYTHONPATH": str(Path(resnets.__file__).parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen([*COMMAND, "--device", "cpu", *words], env=environment, **pipes)  # type: ignore[call-overload]
    try:
        line = started.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), started.communicate()
        yield line.strip(), started
    finally:
        started.kill()
        started.wait()


def test_a_process_answers_logs_no_token_and_ends_with_0_at_sigterm(tmp_path: Path) -> None:
    token = "f00dF00D" * 4
    (tmp_path / "token").write_text(token + "\n")
    with process("--token-file", str(tmp_path / "token")) as (address, started):
        assert token not in Path(f"/proc/{started.pid}/cmdline").read_text()
        headers = {"Authorization": f"Bearer {token}"}
        found = httpx.post(f"{address}/v1/predict", content=images()[0], headers=headers, timeout=END_SECONDS)
        assert found.json()["label"] == reference().predict([images()[0]])[0].label
        assert httpx.get(f"{address}/v1/model?token={token}", timeout=END_SECONDS).status_code == 401
        assert (
            httpx.get(f"{address}/a%0d%0ab", headers=headers | {"X": "forged"}, timeout=END_SECONDS).status_code == 404
        )
        assert httpx.get(f"{address}/v2/health/ready", timeout=END_SECONDS).status_code == 200
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=END_SECONDS)
        assert started.returncode == 0, err
    assert out == ""
    assert token not in err
    assert "Traceback" not in err
    assert re.search(r'127\.0\.0\.1:\d+ - "POST /v1/predict HTTP/1\.1" 200\n', err)
    assert '"GET /a%0D%0Ab HTTP/1.1" 404\n' in err  # in one line, and without the query of the one before
    assert '"GET /v1/model HTTP/1.1" 401\n' in err


def test_what_has_arrived_is_answered_after_the_signal() -> None:
    model = tiny_model()
    gate = Gate(model)
    with ThreadPoolExecutor() as pool, running([serve(model)]) as (address, server):
        gate.close()
        requests = [
            pool.submit(httpx.post, f"{address}/v1/predict", content=each, timeout=END_SECONDS) for each in images()[:3]
        ]
        gate.wait_for_batch()
        while server.batcher.metrics.registry.get_sample_value("resnets_queue_length") < 3:
            pool.submit(httpx.get, f"{address}/v2/health/live").result()  # the others are on their way
        with httpx.Client(base_url=address, timeout=END_SECONDS) as kept:
            assert kept.get("/v2/health/ready").status_code == 200
            server.handle_exit(signal.SIGTERM, None)
            assert not server.batcher.is_ready
        wait_until_closed(address)
        gate.opened.set()
        assert [each.result(END_SECONDS).status_code for each in requests] == [200, 200, 200]


def test_what_takes_longer_than_the_drain_is_given_up() -> None:
    model = tiny_model()
    gate = Gate(model)
    with ThreadPoolExecutor() as pool, running([serve(model)], ServerSettings(drain_seconds=0.1)) as (address, server):
        gate.close()
        request = pool.submit(httpx.post, f"{address}/v1/predict", content=images()[0], timeout=END_SECONDS)
        gate.wait_for_batch()
        server.handle_exit(signal.SIGTERM, None)
        answer = request.result(END_SECONDS)
        gate.opened.set()
    assert (answer.status_code, answer.json()) == (503, {"error": "The server ends before this is answered."})


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    """The first one waits for a body that never comes."""
    ours, theirs = forked_processes.FORKS.Pipe()
    started = forked_processes.start(tmp_path / "log", serve_to_end, str(exported_files.checkpoint_file()), theirs)
    assert ours.poll(END_SECONDS)
    address = ours.recv()
    with connected(address) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        assert (
            httpx.get(f"{address}/v2/health/live", timeout=END_SECONDS).status_code == 200
        )  # it was read before this one
        os.kill(started.pid or 0, signal.SIGINT)
        wait_until_closed(address)
        os.kill(started.pid or 0, signal.SIGTERM)
        started.join(END_SECONDS)
    assert started.exitcode == -signal.SIGTERM


def wait_until_closed(address: str) -> None:
    """Ask until nobody listens any more; uvicorn looks every 0.1 s whether it should end."""
    try:
        while True:
            httpx.get(f"{address}/v2/health/live", timeout=END_SECONDS)
    except httpx.TransportError:
        return


def connected(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=END_SECONDS)


def test_the_server_ends_with_an_error_when_a_thread_of_the_batcher_does() -> None:
    model = tiny_model()

    def end(*_: object) -> None:
        raise SystemExit(3)

    def ask_once() -> None:
        with running([serve(model)]) as (address, server):
            model.model.register_forward_hook(end)
            assert httpx.get(f"{address}/v2/health/ready", timeout=END_SECONDS).status_code == 200
            assert httpx.post(f"{address}/v1/predict", content=images()[0], timeout=END_SECONDS).status_code == 503
            assert not server.batcher.is_ready

    with pytest.raises(JobError, match="one of its threads did"):
        ask_once()


def test_an_address_that_cannot_be_printed_ends_the_server(capfd: pytest.CaptureFixture[str]) -> None:
    def announce(address: str) -> None:
        Path("/dev/full").write_text(address)

    with run.bind("127.0.0.1", 0) as listener:
        server = ModelServer([serve(reference())], ServerSettings(), listener, announce)
        with pytest.raises(OSError, match="No space left"):
            server.run_to_end()
    assert "Traceback" not in capfd.readouterr().err


def test_addresses_that_are_refused() -> None:
    options = {"announce": print, "device": "cpu"}
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(UserError, match="opens the server to other machines"):
            run.serve_files(["gone"], ServerSettings(), host=host, port=0, no_token=False, **options)
    with run.bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"`port={port}` is in use"):
            run.serve_files(["gone"], ServerSettings(), host="127.0.0.1", port=port, no_token=False, **options)
    with pytest.raises(UserError, match=r"`host=192.0.2.1` with `port=0` cannot be used"):
        run.serve_files(["gone"], ServerSettings(token="abc"), host="192.0.2.1", port=0, no_token=False, **options)
    with pytest.raises(UserError, match="There is no checkpoint 'gone'"):
        run.serve_files(["gone"], ServerSettings(), host="127.0.0.1", port=0, no_token=True, **options)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("host", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert run.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "announced"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("localhost", "127.0.0.1"),
        (socket.gethostname(), None),
        ("0.0.0.0", "localhost"),
        ("::", "localhost"),
    ],
)
def test_the_address_that_is_printed_is_answered(
    monkeypatch: pytest.MonkeyPatch, host: str, announced: str | None
) -> None:
    """And so is the name that was given, at the port that is printed."""
    monkeypatch.setattr(run.served_model, "load_all", lambda *_, **__: [serve(reference())])
    codes: list[int] = []

    def announce(address: str) -> None:
        if announced is not None:
            assert address.rpartition(":")[0] == f"http://{announced}"
        names = [address] if host in run.WILDCARDS else [address, f"http://{host}:{address.rpartition(':')[2]}"]

        def ask() -> None:
            for name in names:
                codes.append(httpx.get(f"{name}/v2/health/live", timeout=END_SECONDS, trust_env=False).status_code)
            servers[0].should_exit = True

        threading.Thread(target=ask).start()

    servers: list[ModelServer] = []

    class Known(ModelServer):
        def run_to_end(self) -> None:
            servers.append(self)
            super().run_to_end()

    monkeypatch.setattr(run, "ModelServer", Known)
    try:
        run.serve_files(["model"], ServerSettings(), host=host, port=0, no_token=True, announce=announce)
    except UserError as error:  # a machine without IPv6, or without a name
        pytest.skip(str(error))
    assert codes
    assert set(codes) == {200}


def test_no_answer_waits_for_the_acknowledgement_of_its_header() -> None:
    """Nagle's algorithm would keep it back for 40 ms, until a client acknowledges what it has."""
    with running([serve(reference())]) as (address, server), httpx.Client(timeout=END_SECONDS) as client:
        assert client.get(f"{address}/v2/health/live").status_code == 200
        connection: Any = next(iter(server.server_state.connections))
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_addresses_of_both_versions() -> None:
    with run.bind("127.0.0.1", 0) as bound:
        assert run.address_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
        with run.bind("::1", 0) as bound:
            assert run.address_of(bound) == f"http://[::1]:{bound.getsockname()[1]}"
