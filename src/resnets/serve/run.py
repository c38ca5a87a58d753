"""Run the server until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import uvicorn

from resnets.errors import JobError, UserError
from resnets.progress import log
from resnets.serve import application, served_model
from resnets.serve.batcher import Batcher
from resnets.serve.http_protocol import DeadlineProtocol
from resnets.serve.served_model import ServedModel
from resnets.serve.settings import ServerSettings

WILDCARDS = ("0.0.0.0", "::")  # all addresses of this machine
SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"no_query": {"()": "resnets.serve.run.WithoutQuery"}},
    "formatters": {"plain": {"format": "%(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        "uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False, "filters": ["no_query"]},
    },
}


class WithoutQuery(logging.Filter):
    """Cuts the query off the addresses in the access log: it may have what somebody wants to keep to himself."""

    def filter(self, record: logging.LogRecord) -> bool:
        client, method, path, *others = record.args  # type: ignore[misc]
        record.args = (client, method, str(path).partition("?")[0], *others)
        return True


def serve_files(
    paths: Sequence[str],
    settings: ServerSettings,
    *,
    host: str,
    port: int,
    no_token: bool,
    announce: Callable[[str], object],
    **options: str,
) -> None:
    """Answer requests with the predictions of models until SIGTERM or SIGINT.

    Then those that have arrived are answered; a second signal ends the process at once.

    Args:
        host: an address, or a name, of this machine.
        port: 0 for one that is free.
        no_token: whether a server without a token may be reached from other machines.
        announce: is given the address once requests are accepted.
        options: `device`, `backend` and `precision` of the models.

    Raises:
        UserError: there is no such model; the address cannot be used, or would be open to others without a token.
        JobError: a thread of the batcher ended.
    """
    if not is_loopback(host) and not settings.token and not no_token:
        raise UserError(
            f"`host={host}` opens the server to other machines. Give it a `token_file`, or say `no_token` if all who reach it "
            "may use it."
        )
    if host in WILDCARDS and not settings.allow_host:
        log(
            f"warning: with `host={host}`, only requests to localhost are answered: `allow_host` takes the names or addresses by "
            "which others reach this machine"
        )
    with bind(host, port) as listener:  # before the models are read, since it may fail
        settings = replace(settings, allow_host=(*settings.allow_host, *names_of(host, listener)))
        server = ModelServer(served_model.load_all(paths, **options), settings, listener, announce)
        server.run_to_end()


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket of that address, which accepts no connection yet. Raises UserError where there can be none."""
    # asyncio turns off Nagle's algorithm only where the protocol is named; otherwise the body of each answer would wait until the
    # client has acknowledged the header, which takes it up to 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would share the port with another server
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        return bound
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"`port={port}` is in use on '{host}'. Choose another one, or 0 for one that is free."
            ) from None
        raise UserError(f"`host={host}` with `port={port}` cannot be used: {error}.") from None


def names_of(host: str, listener: socket.socket) -> tuple[str, ...]:
    """What the Host header of a request to a socket may have that was bound to `host`: the name, and the address that it is.

    None for all addresses of this machine, which others reach by names that it does not know.
    """
    return () if host in WILDCARDS else tuple(map(_in_url, (host, listener.getsockname()[0])))


def address_of(listener: socket.socket) -> str:
    """The URL of a server at a socket, which answers to it."""
    host, port = listener.getsockname()[:2]
    return f"http://{'localhost' if host in WILDCARDS else _in_url(host)}:{port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class ModelServer(uvicorn.Server):
    """uvicorn with another end: exit code 0 after a signal, and an end of its own where the batcher has failed."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        settings: ServerSettings,
        listener: socket.socket,
        announce: Callable[[str], object],
    ) -> None:
        app = application.build(models, settings)
        config = uvicorn.Config(
            app,
            http=partial(DeadlineProtocol, settings),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            log_config=LOGGING,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
        )
        super().__init__(config)
        self.batcher: Batcher = app.state.service.batcher
        self.listener, self.announce = listener, announce
        self.failure: OSError | None = None

    def run_to_end(self) -> None:
        """Run until a signal.

        Raises:
            OSError: the address cannot be announced.
            UserError, JobError: the batcher has ended.
        """
        self.run(sockets=[self.listener])
        error = self.failure or self.batcher.error
        if isinstance(error, (UserError, JobError, OSError)):
            raise error
        if error is not None:
            raise JobError(f"The server ended, since one of its threads did: {error!r}") from error

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            self.announce(address_of(self.listener))
        except OSError as error:  # of a full disk, or of a reader that went away
            self.failure, self.should_exit = error, True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log(f"ending: what has arrived is answered, for up to {self.config.timeout_graceful_shutdown} s")
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.batcher.error is not None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.should_exit:  # the second one
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.batcher.draining = self.should_exit = True
