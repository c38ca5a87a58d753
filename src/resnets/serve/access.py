"""Who may ask, as ASGI middleware before all else.

A server on 127.0.0.1 is reached by every page that a browser of this machine shows: by requests to 127.0.0.1, and by DNS
rebinding under a name of the attacker's. So the Host header is checked, and the origin of the page that asks.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from resnets.serve.answers import refuse
from resnets.serve.settings import ServerSettings

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_HOST = "*"


class AllowedHosts:
    """Refuses requests that were sent to another name than those of this server, or to two; Starlette's own takes the first."""

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


def host_name(host: str) -> str:
    """The name in a Host header, in lower case and without the port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isascii() and port.isdecimal() else host.lower()


def path_of(scope: Scope) -> str:
    """The path of a request below that of the application."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "")) or "/"
