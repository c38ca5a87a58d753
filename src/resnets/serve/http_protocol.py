"""HTTP with deadlines: what uvicorn leaves open for ever, or goes on reading, is closed.

uvicorn 0.54 has no limit for how long a client may take to send a request, and reads on what is left of a body that was refused
(https://github.com/Kludex/uvicorn). A deadline here is absolute: a byte now and then does not move it. Within it, a body has to
arrive at a least rate, as Apache's `RequestReadTimeout` has it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from resnets.serve.settings import ServerSettings

MAX_CONNECTIONS = 1024  # beyond it, the one whose client has kept the server waiting longest is closed
LEFT_BYTES = 2**19  # that are read of a body after its request was answered
# The least of a body in each such time: 1 kB a second, which the slowest mobile networks bring several times.
RATE_SECONDS, RATE_BYTES = 5.0, 5_000
SEND_SECONDS = 30.0  # for a client to take what was sent to it
TOO_LATE = 408

_HEADER, _BODY, _LEFT = "header", "body", "left"


class DeadlineProtocol(H11Protocol):
    """A connection that is closed when its request does not arrive, or its answer is not taken, in time."""

    def __init__(self, settings: ServerSettings, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = {_HEADER: settings.header_seconds, _BODY: settings.body_seconds, _LEFT: settings.body_seconds}
        self._phase: str | None = None  # what the client has to send in time
        self._timers: list[asyncio.TimerHandle] = []  # of the phase
        self._left_bytes = LEFT_BYTES
        self._rated_bytes = 0  # that came since the rate was checked
        self._since = 0.0  # when the phase began
        self._send_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_LingeringTransport(transport, self))  # type: ignore[arg-type]
        self._enter(_HEADER)
        if len(self.connections) > MAX_CONNECTIONS:
            protocols = [each for each in self.connections if isinstance(each, DeadlineProtocol)]
            awaited = [each for each in protocols if each.is_awaited]
            min(awaited, key=lambda each: each._since).transport.abort()

    @property
    def is_awaited(self) -> bool:
        """Whether the client has to send something before anything else happens: the rest of a request, or the next one."""
        return self._phase is not None or self.cycle is None or self.cycle.response_complete

    @property
    def is_sending(self) -> bool:
        """Whether more of what was answered already may be on its way: of a body, or of something that is no request."""
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(None)
        self._stop_sending_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._rated_bytes += len(data)
        if self._phase == _LEFT:
            self._left_bytes -= len(data)
            if self._left_bytes < 0:
                self.transport.abort()
            return
        if self._phase is None and self.conn.their_state is h11.IDLE:
            self._enter(_HEADER)
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self._phase == _LEFT:
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._enter(_BODY)
        elif self.conn.their_state is h11.IDLE and (self._phase == _HEADER or self.conn.trailing_data[0]):
            self._enter(_HEADER)
        else:
            self._enter(None)

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:  # its answer would be a second one
            self._give_up_cycle()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        is_left = self.conn.their_state is h11.SEND_BODY  # of this request: what follows may begin the next one
        super().on_response_complete()
        if is_left and not self.transport.is_closing():
            self.transport.close()  # it was answered before its body was read: nothing else is answered here
        elif self.transport.is_closing() and self._phase != _LEFT:
            self._start_sending_clock()  # it waits until all is sent

    def read_what_is_left(self) -> None:
        """Close the connection for writing, and let the client send on for a while; nothing of it is used."""
        self._unset_keepalive_if_required()
        self._enter(_LEFT)
        self.transport.write_eof()
        self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._start_sending_clock()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_sending_clock()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending_clock()

    def _start_sending_clock(self) -> None:
        self._stop_sending_clock()
        self._send_deadline = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def _stop_sending_clock(self) -> None:
        if self._send_deadline is not None:
            self._send_deadline.cancel()
            self._send_deadline = None

    def _enter(self, phase: str | None) -> None:
        """Begin to wait for a part of a request, unless that is what is waited for already."""
        if phase == self._phase:
            return
        self._phase, self._since = phase, self.loop.time()
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if phase is not None:
            seconds = self._seconds[phase]
            self._timers.append(self.loop.call_later(seconds, self._end_late, "The body", seconds))
        if phase in (_BODY, _LEFT):
            self._start_counting()

    def _start_counting(self) -> None:
        self._rated_bytes = 0
        self._timers[1:] = [self.loop.call_later(RATE_SECONDS, self._check_rate)]

    def _check_rate(self) -> None:
        if self._rated_bytes < RATE_BYTES:
            self._end_late(f"{RATE_BYTES:,} bytes of the body", RATE_SECONDS)
        else:
            self._start_counting()

    def _end_late(self, what: str, seconds: float) -> None:
        """Close the connection of a client that sends too slowly; one that may read an answer is told why."""
        may_read = self._phase == _BODY and self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] != "HEAD"
        if not may_read:
            return self.transport.abort()
        self._give_up_cycle()
        text = json.dumps({"error": f"{what} did not arrive within {seconds:g} s."}).encode("ascii")
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(text)),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=TOO_LATE, headers=headers), h11.Data(text), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _give_up_cycle(self) -> None:
        """Let the application know that nobody waits for what it would answer."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()


class _LingeringTransport:
    """A transport whose `close` lets the client send to the end what it is sending, as nginx's `lingering_close` does.

    Bytes that reach a closed socket are answered by a reset of the connection, for which the client's system discards the answer
    that its program has not read yet. A second `close` closes it.
    """

    def __init__(self, transport: asyncio.Transport, protocol: DeadlineProtocol) -> None:
        self._transport, self._protocol = transport, protocol
        self._is_left = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_left or self._transport.is_closing()

    def close(self) -> None:
        if self._is_left or not self._protocol.is_sending or self._transport.is_closing():
            return self._transport.close()
        self._is_left = True
        self._protocol.read_what_is_left()
