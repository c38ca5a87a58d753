"""Who may ask, and how much, as ASGI middleware before all else.

A server on 127.0.0.1 is reached by every page that a browser of this machine shows: by requests to 127.0.0.1, and by DNS
rebinding under a name of the attacker's. So the Host header is checked, and the origin of the page that asks.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnets.serve.metrics import Metrics
from resnets.serve.service import MODEL, RETRY, Answer
from resnets.serve.settings import ServerSettings

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_HOST = "*"
MAX_CLIENTS = 10_000  # whose rate is known
BODIES_BYTES = 2**28  # of all requests that are being answered
SLOW_SECONDS = 5.0  # after which a body that is still arriving gives its memory to others, where it is short
METHODS = ("GET", "POST")
TOO_LARGE = 413
CORS_HEADERS = ("Authorization", "Content-Type", "Inference-Header-Content-Length")


def middleware(
    settings: ServerSettings, metrics: Metrics, routes: Sequence[Route], open_paths: frozenset[str]
) -> list[Middleware]:
    """All limits, the first one outside.

    Args:
        routes: those of the application.
        open_paths: those that are answered without the token.
    """
    found = [
        Middleware(Answered, metrics, routes),
        Middleware(AllowedHosts, settings),
        Middleware(SameOrigin, settings),
    ]
    if settings.cors:
        origins = [origin.lower() for origin in settings.cors]  # as browsers send them
        found.append(
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=METHODS, allow_headers=CORS_HEADERS)
        )
    if settings.token:
        found.append(Middleware(TokenCheck, settings.token, open_paths))
    if settings.requests_per_second:  # those without the token take nothing of it
        found.append(Middleware(RateLimit, settings.requests_per_second))
    return [*found, Middleware(BodyLimits, settings.max_body_bytes)]


class Answered:
    """Counts and times the answers, and adds the header that keeps browsers from guessing what an answer is."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[Route]) -> None:
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        code, start = 0, time.monotonic()

        async def send_counted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            labels = self._route(scope), scope.get(MODEL, "")
            self.metrics.requests.labels(*labels, code or 500).inc()  # which the server adds where there is no answer
            self.metrics.request_seconds.labels(*labels).observe(time.monotonic() - start)

    def _route(self, scope: Scope) -> str:
        """The path of the route, as it was declared: addresses of no route, which clients make up, are counted together."""
        return next((route.path for route in self.routes if route.matches(scope)[0] is not Match.NONE), "none")


class AllowedHosts:
    """Refuses requests that were sent to another name than those of this server."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self.allowed = LOCAL_HOSTS | {host.lower() for host in settings.allow_host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(Headers(scope=scope).getlist("host")):
            return await refuse(
                403, "This server does not answer to that name: `allow_host` has those that it answers to."
            )(scope, receive, send)
        await self.app(scope, receive, send)

    def _is_allowed(self, hosts: list[str]) -> bool:
        return ANY_HOST in self.allowed or (len(hosts) == 1 and host_name(hosts[0]) in self.allowed)


class SameOrigin:
    """Refuses requests that a page of another origin has sent, unless the settings allow it; links to the page are followed."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.allowed = app, {origin.lower() for origin in settings.cors}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(scope["method"], Headers(scope=scope)):
            return await refuse(403, "Pages of that origin may not ask: `cors` has those that may.")(
                scope, receive, send
            )
        await self.app(scope, receive, send)

    def _is_allowed(self, method: str, headers: Headers) -> bool:
        if origins := headers.getlist("origin"):
            own = headers.get("host", "").lower()
            return all(each.lower() in self.allowed or each.lower().partition("://")[2] == own for each in origins)
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return True
        is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return method == "GET" and is_link


class TokenCheck:
    """Refuses requests without the token."""

    def __init__(self, app: ASGIApp, token: str, open_paths: frozenset[str]) -> None:
        self.app, self.token, self.open_paths = app, token.encode(), open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and path_of(scope) not in self.open_paths and not self._has_token(scope):
            challenge = {"WWW-Authenticate": "Bearer"}
            return await refuse(401, "This server needs its token: Authorization: Bearer TOKEN.", challenge)(
                scope, receive, send
            )
        await self.app(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        kind, _, sent = Headers(scope=scope).get("authorization", "").partition(" ")
        # In constant time: how long it takes tells nothing of how many letters are right.
        return hmac.compare_digest(sent.strip().encode(), self.token) and kind.lower() == "bearer"


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


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without the port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isascii() and port.isdecimal() else host.lower()


def path_of(scope: Scope) -> str:
    """The path of a request below that of the application."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"


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


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Answer:
    """An answer that says why there is none."""
    return Answer({"error": reason}, status, headers)
