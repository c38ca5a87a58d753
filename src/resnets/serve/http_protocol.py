"""HTTP with deadlines: what uvicorn leaves open for ever, or goes on reading, is closed.

uvicorn 0.54 has no limit for how long a client may take to send a request, and reads on what is left of a body that was refused
(https://github.com/Kludex/uvicorn). A deadline here is absolute: a byte now and then does not move it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from resnets.serve.settings import ServerSettings

MAX_CONNECTIONS = 1024  # beyond it, the one that has waited longest for its client to ask is closed
LEFT_BYTES = 2**19  # of a body that was refused; a connection that is closed too early loses the answer, too
LEFT_SECONDS = 5.0

SEND_SECONDS = 30.0  # for a client to take what was sent to it

_HEADER, _BODY, _LEFT = "header", "body", "left"


class DeadlineProtocol(H11Protocol):
    """A connection that is closed when its request does not arrive, or its answer is not taken, in time."""

    def __init__(self, settings: ServerSettings, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = {_HEADER: settings.header_seconds, _BODY: settings.body_seconds, _LEFT: LEFT_SECONDS}
        self._phase: str | None = None  # what the client has to send in time
        self._deadline: asyncio.TimerHandle | None = None
        self._left_bytes = LEFT_BYTES
        self._since = 0.0  # when the phase began
        self._send_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter(_HEADER)
        if len(self.connections) > MAX_CONNECTIONS:
            protocols = [each for each in self.connections if isinstance(each, DeadlineProtocol)]
            silent = [each for each in protocols if each._phase == _HEADER]
            min(silent, key=lambda each: each._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(None)
        self._stop_sending_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        if self.cycle is not None:  # its answer would be a second one
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def on_response_complete(self) -> None:
        is_left = self.conn.their_state is h11.SEND_BODY  # of this request: what follows may begin the next one
        super().on_response_complete()
        if is_left and not self.transport.is_closing():
            # It was answered before its body was read: nothing else is answered on this connection.
            self._unset_keepalive_if_required()
            self._enter(_LEFT)
            self.transport.write_eof()
        elif self.transport.is_closing():
            self._start_sending_clock()  # it waits until all is sent

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
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if phase is not None:
            self._deadline = self.loop.call_later(self._seconds[phase], self.transport.abort)
