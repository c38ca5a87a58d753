"""The files of the page for browsers, read once: each has its own route, so that no path of a request reaches the disk."""

from __future__ import annotations

from functools import partial
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

INDEX = "index.html"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# Nothing is loaded from other servers, and no other page shows this one in a frame.
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}


def page_routes() -> list[Route]:
    """A route for each file."""
    routes = []
    for file in sorted(resources.files("resnets.serve").joinpath("page").iterdir(), key=lambda file: file.name):
        suffix = file.name[file.name.rfind(".") :]
        if suffix in MEDIA_TYPES:
            path = "/" if file.name == INDEX else f"/{file.name}"
            endpoint = partial(_send, file.read_bytes(), MEDIA_TYPES[suffix])
            routes.append(Route(path, endpoint, name=f"page: {file.name}"))
    return routes


async def _send(content: bytes, media_type: str, request: Request) -> Response:
    return Response(content, media_type=media_type, headers=HEADERS)
