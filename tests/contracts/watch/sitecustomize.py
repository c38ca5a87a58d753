"""Python imports this at its start: every attempt to reach another host is written down and refused, in children as well."""

import os
import sys

HERE = ("localhost", "127.", "::1", "0.0.0.0")
ASKED = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in ASKED:
        return
    target = (
        arguments[0]
        if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
        else arguments[1]
    )
    host = target[0] if isinstance(target, tuple) else target
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    if not isinstance(target, tuple) and event in ("socket.connect", "socket.sendto"):
        return  # a socket of this machine has a path for an address
    if host is None or name == "" or name.startswith(HERE):
        return
    with open(os.environ["RESNETS_WATCHED"], "a") as file:
        file.write(f"{event} {name}\n")
    raise ConnectionRefusedError(f"the test allows no connection to {name}")


if "RESNETS_WATCHED" in os.environ:
    sys.addaudithook(_watch)
