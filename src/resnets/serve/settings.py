"""The settings of a server."""

from dataclasses import dataclass, field
from pathlib import Path

from resnets.data.image.decode import MAX_PIXELS
from resnets.errors import UserError

TOKEN_LETTERS = 16  # at least, since guesses of it have no rate


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server, each with a value that is safe on a machine of its user.

    Attributes:
        batch: images that go through the network together at most.
        queue: images that are waiting or computed at once; beyond it, requests are refused with 503.
        timeout_seconds: from when the images of a request are known until all are predicted; beyond it, 504.
        drain_seconds: after SIGTERM, for requests that are being answered.
        max_body_bytes: of a request; beyond it, 413.
        max_pixels: of an image, by its header; beyond it, the image is refused before memory is allocated.
        requests_per_second: of one client; beyond it, 429. 0 for no limit.
        cors: origins, such as "https://example.org", whose pages may send requests.
        allow_host: names of this server beside localhost, 127.0.0.1 and [::1], without a port; "*" for any.
        token: what requests have to send in `Authorization: Bearer`; empty for none.
        page: whether there is a page for browsers.
        header_seconds: for a client to send the header of a request; then the connection is closed.
        body_seconds: for the body of a request; beyond it, 408.
    """

    batch: int = 16
    queue: int = 256
    timeout_seconds: float = 30.0
    drain_seconds: float = 30.0
    max_body_bytes: int = 20_000_000
    max_pixels: int = MAX_PIXELS
    requests_per_second: float = 0.0
    cors: tuple[str, ...] = ()
    allow_host: tuple[str, ...] = ()
    token: str = field(default="", repr=False)  # so that it gets into no log
    page: bool = True
    header_seconds: float = 10.0
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("batch", "queue", "max_body_bytes", "max_pixels"):
            if getattr(self, name) < 1:
                raise UserError(f"`{name}` must be 1 or more; received {getattr(self, name)}.")
        for name in ("timeout_seconds", "drain_seconds", "header_seconds", "body_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"`{name}` is a number of seconds above 0; received {getattr(self, name)}.")
        if not 0 <= self.requests_per_second < float("inf"):
            raise UserError(f"`requests_per_second` must be 0 or more; received {self.requests_per_second}.")
        if self.max_pixels > MAX_PIXELS:
            raise UserError(f"`max_pixels` is at most {MAX_PIXELS:,}; received {self.max_pixels:,}.")
        for origin in self.cors:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or "/" in rest:
                raise UserError(f"`cors` is an origin such as https://example.org; received '{origin}'.")
        if not self.token.isascii() or any(letter.isspace() or not letter.isprintable() for letter in self.token):
            raise UserError("`token` has letters, digits and signs of ASCII only, without blanks.")


def read_token(file: str) -> str:
    """The token in a file, without the blanks around it.

    Raises:
        UserError: the file cannot be read, or has none that nobody guesses.
    """
    try:
        token = Path(file).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no ASCII text"
        raise UserError(f"`token_file={file}` cannot be read: {reason}.") from None
    if len(token) < TOKEN_LETTERS:
        raise UserError(
            f"`token_file={file}` has {len(token)} letters. Write a token of {TOKEN_LETTERS} or more into it, such as that of "
            "`openssl rand -hex 32`."
        )
    return token
