"""How much a client may ask, as ASGI middleware: requests a second, and bytes."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnets.serve.answers import RETRY, refuse

MAX_CLIENTS = 10_000  # whose rate is known
BODIES_BYTES = 2**28  # of all requests that are being answered
SLOW_SECONDS = 5.0  # after which a body that is still arriving gives its memory to others, where it is short
TOO_LARGE = 413


class RateLimit:
    """A bucket of tokens for each client: a POST takes one, `per_second` come back, and it holds those of one second."""

    def __init__(self, app: ASGIApp, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.per_second, self.clock = app, per_second, clock
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (wait := self._take(client_of(scope))):
            headers = {"Retry-After": str(math.ceil(wait))}
            return await refuse(429, f"More than {self.per_second:g} requests a second. Try again.", headers)(
                scope, receive, send
            )
        await self.app(scope, receive, send)

    def _take(self, client: str) -> float:
        """Take a token: 0, or the seconds until there is one."""
        now, size = self.clock(), max(self.per_second, 1.0)
        tokens, then = self.buckets.pop(client, (size, now))
        tokens = min(tokens + (now - then) * self.per_second, size)
        has_one = tokens >= 1
        self.buckets[client] = (tokens - has_one, now)
        if len(self.buckets) > MAX_CLIENTS:
            self.buckets.popitem(last=False)
        return 0.0 if has_one else (1 - tokens) / self.per_second


@dataclass(eq=False)
class _Body:
    """The body of a request: when it began, its bytes in memory, and what ends the wait for more."""

    start: float
    num_bytes: int = 0
    wait: asyncio.Timeout | None = None


class BodyLimits:
    """Bounds the bytes of each body, and of all bodies that are in memory."""

    def __init__(self, app: ASGIApp, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.max_bytes, self.clock = app, max_bytes, clock
        self.used_bytes, self.most_bytes = 0, max(BODIES_BYTES, max_bytes)
        self.arriving: set[_Body] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may go by the other one, and take the rest for another request (RFC 9112, 6.1).
            reason = "A request has `Content-Length` or `Transfer-Encoding`, not both."
            return await refuse(400, reason, {"Connection": "close"})(scope, receive, send)
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > 15 or int(declared) > self.max_bytes):  # before anything is read
            return await refuse(TOO_LARGE, self._too_large())(scope, receive, send)
        body, is_whole = _Body(self.clock()), False

        async def receive_counted() -> Message:
            nonlocal is_whole
            message = await (receive() if is_whole else self._receive(body, receive))
            if message["type"] == "http.request":
                is_whole = not message.get("more_body", False)
                size = len(message.get("body", b""))
                if body.num_bytes + size > self.max_bytes:
                    raise HTTPException(TOO_LARGE, self._too_large())
                self._make_room(size)
                body.num_bytes += size
                self.used_bytes += size
            return message

        try:
            await self.app(scope, receive_counted, send)
        finally:
            self.used_bytes -= body.num_bytes

    async def _receive(self, body: _Body, receive: Receive) -> Message:
        """The next part of a body. Raises HTTPException 503 where its memory is given to others meanwhile."""
        try:
            async with asyncio.timeout(None) as body.wait:
                self.arriving.add(body)
                return await receive()
        except TimeoutError:
            raise HTTPException(503, "The server is busy, and this request arrives slowly. Try again.", RETRY) from None
        finally:
            self.arriving.discard(body)

    def _make_room(self, size: int) -> None:
        """Give up bodies that arrive slowly, the oldest first, until there is room. Raises HTTPException 503 if there is none.

        Else a few clients that send most of what they may, and then wait, would keep all others out.
        """
        while self.used_bytes + size > self.most_bytes:
            oldest = min(self.arriving, key=lambda each: each.start, default=None)
            if oldest is None or oldest.wait is None or self.clock() - oldest.start < SLOW_SECONDS:
                raise HTTPException(503, "The server is busy: too many bytes wait. Try again.", RETRY)
            self.arriving.remove(oldest)
            self.used_bytes -= oldest.num_bytes
            oldest.num_bytes = 0
            oldest.wait.reschedule(asyncio.get_running_loop().time())

    def _too_large(self) -> str:
        return f"The request has more than {self.max_bytes:,} bytes."


def client_of(scope: Scope) -> str:
    """The address of a client; of IPv6 its network, of which one client has all addresses."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
