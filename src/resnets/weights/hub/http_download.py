"""Download one file over HTTP with retries and resume, or copy it from a mirror folder; `download.py` decides which and where."""

from __future__ import annotations

import email.utils
import errno
import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn
from urllib.parse import unquote, urlsplit

import requests

from resnets.errors import JobError
from resnets.progress import log, progress_bar

MIB = 2**20
BLOCK = 2**16  # bytes written at once, so that little is lost when the connection ends
MAX_BYTES = 4 * 2**30  # of a file of unknown size; published weights have less than 1 GiB
TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two blocks
PAUSE_SECONDS = (1.0, 2.0, 4.0, 8.0)  # before each retry, as long as no byte is received
FIRST_ANSWER_SECONDS = 15.0  # timeout of the first answer of a host
SILENT_TRIES = 2  # of a host that has never answered
MAX_WAIT_SECONDS = 120.0  # that a server may ask to wait
BUSY = (429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CutOffError(Exception):
    """The connection failed, or the server is busy; a retry may succeed.

    `pause` is the pause that the server asks for, in seconds, or None.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class Transfer:
    """A download into the file `partial`, which is kept after failures and after the process.

    Attributes:
        name: of the file, for messages.
        url: an http, https or file URL.
        partial: the file that is written.
        final: where the complete file will be moved to, for messages.
        trusted: whether a published hash will be compared, so that a download of an earlier day can be resumed.
        size: in bytes; None until a server has sent it.
        digest: "sha256:…" as the server of Hugging Face sends it, or "".
        resumed: whether the first bytes are from an earlier connection.
    """

    name: str
    url: str
    partial: Path
    final: Path
    trusted: bool
    size: int | None = None
    digest: str = ""
    resumed: bool = False
    _announced: bool = False
    _answered: bool = False

    def run(self) -> None:
        """Download the whole file into `partial`.

        Raises:
            JobError: it cannot be downloaded; the message has the number of bytes received and what to do.
        """
        if urlsplit(self.url).scheme == "file":
            self._copy()
            return
        tries, highest = 0, self.bytes_received
        with requests.Session() as session:
            while True:
                try:
                    self._attempt(session)
                    return
                except CutOffError as cut:
                    tries = 1 if self.bytes_received > highest else tries + 1
                    highest = max(highest, self.bytes_received)
                    if tries > len(PAUSE_SECONDS) or (not self._answered and tries >= SILENT_TRIES):
                        self._give_up(str(cut))
                    pause = PAUSE_SECONDS[tries - 1] if cut.pause is None else cut.pause
                    if pause > MAX_WAIT_SECONDS:
                        self._give_up(f"{cut}; it asks to wait {pause:.0f} s")
                    log(f"{self.name}: {cut}; trying again in {pause:g} s")
                    time.sleep(pause)

    @property
    def bytes_received(self) -> int:
        """Number of bytes in `partial`."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def discard(self) -> None:
        """Remove `partial`."""
        self.partial.unlink(missing_ok=True)
        self._version_file.unlink(missing_ok=True)
        self.resumed = False

    @property
    def _version_file(self) -> Path:
        """The file with the server's ETag or date of the version that `partial` is the beginning of."""
        return self.partial.with_name(f"{self.partial.name}.json")

    def _attempt(self, session: requests.Session) -> None:
        headers = {"Accept-Encoding": "identity"}
        version = self._version()
        if self.bytes_received and (version or self.trusted):
            headers["Range"] = f"bytes={self.bytes_received}-"
            if version:
                headers["If-Range"] = version
        timeout = (TIMEOUT[0], TIMEOUT[1] if self._answered else min(TIMEOUT[1], FIRST_ANSWER_SECONDS))
        try:
            with session.get(self.url, headers=headers, stream=True, timeout=timeout) as response:
                self._answered = True
                self._receive(response)
        except requests.exceptions.Timeout as error:
            raise CutOffError("no data was received for a while") from error
        except requests.exceptions.ProxyError as error:
            raise CutOffError("the proxy cannot be reached (see HTTPS_PROXY)") from error
        except requests.exceptions.SSLError as error:
            self._give_up(
                f"its certificate is not accepted ({_innermost_reason(error)}); REQUESTS_CA_BUNDLE names another authority"
            )
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise CutOffError(f"the connection failed: {_innermost_reason(error)}") from error
        except requests.exceptions.RequestException as error:
            self._give_up(_innermost_reason(error))
        if self.size is not None and self.bytes_received < self.size:
            raise CutOffError("the connection ended early")

    def _receive(self, response: requests.Response) -> None:
        status = response.status_code
        self._read_digest(response)
        if status in BUSY:
            reason = "the server has too many requests" if status == 429 else f"the server fails (HTTP {status})"
            raise CutOffError(reason, _retry_after(response.headers.get("Retry-After")))
        if status == 416:  # no bytes follow: `partial` is complete, or of another file
            if response.headers.get("Content-Range") == f"bytes */{self.bytes_received}":
                self.size = self.bytes_received
                return
            self.discard()
            raise CutOffError("the bytes received earlier are of another file")
        if status not in (200, 206):
            self._refused(response)
        self._read_headers(response)
        with self._writing("ab" if status == 206 else "wb") as file:
            for _ in self._with_progress_bar(response, file):
                pass

    def _read_digest(self, response: requests.Response) -> None:
        for answer in (*response.history, response):
            # A header of huggingface_hub/constants.py: the hash of the file, in the redirect to the storage.
            etag = answer.headers.get("X-Linked-Etag", "").strip('"')
            if re.fullmatch("[0-9a-f]{64}", etag):
                self.digest = f"sha256:{etag}"

    def _read_headers(self, response: requests.Response) -> None:
        self.resumed = response.status_code == 206
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        if self.resumed:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != self.bytes_received:
                self.discard()
                raise CutOffError("the server sends another range than was requested")
            size = int(found[2])
        elif self.bytes_received:
            log(f"{self.name}: the server does not resume the download; starting again")
        self.size = size
        self._check_space()
        version = response.headers.get("ETag", "")
        # A weak ETag does not promise the same bytes (RFC 9110, 8.8.3).
        strong = version if version and not version.startswith("W/") else response.headers.get("Last-Modified", "")
        self._version_file.write_text(json.dumps({"url": self.url, "version": strong}), encoding="utf-8")
        if not self._announced:
            self._announced = True
            start = f", {self.bytes_received / MIB:.1f} MiB of it are here" if self.resumed else ""
            log(f"downloading {self.name}: {self._shown_size()} from {urlsplit(self.url).netloc}{start}")

    def _with_progress_bar(self, response: requests.Response, file: BinaryIO) -> Iterator[int]:
        left = (
            None if self.size is None else math.ceil((self.size - (self.bytes_received if self.resumed else 0)) / MIB)
        )
        return progress_bar(
            self._written_mib(response, file), description=f"downloading {self.name}", total=left, unit="MiB"
        )

    def _written_mib(self, response: requests.Response, file: BinaryIO) -> Iterator[int]:
        """Write what is received, and yield once for each MiB."""
        written = 0
        for block in response.iter_content(BLOCK):
            self._write(file, block)
            if self.size is None and self.bytes_received > MAX_BYTES:
                self.discard()
                raise JobError(
                    f"{self.name}: more than {MAX_BYTES / MIB:,.0f} MiB were received of a file whose size "
                    f"{urlsplit(self.url).netloc} does not state; it was removed."
                )
            written += len(block)
            while written >= MIB:
                written -= MIB
                yield MIB
        if written:
            yield written

    def _write(self, file: BinaryIO, block: bytes) -> None:
        try:
            file.write(block)
        except OSError as error:
            self._unwritable(error)

    def _writing(self, mode: str) -> BinaryIO:
        try:
            return self.partial.open(mode, buffering=0)  # type: ignore[return-value]
        except OSError as error:
            self._unwritable(error)

    def _copy(self) -> None:
        original = Path(unquote(urlsplit(self.url).path))
        if not original.is_file():
            raise JobError(f"{self.name}: there is no file '{original}'. RESNETS_MIRROR names its first folder.")
        self.size = original.stat().st_size
        self._check_space()
        log(f"copying {self.name}: {self._shown_size()} from '{original}'")
        with original.open("rb") as reader, self._writing("wb") as file:
            while block := reader.read(MIB):
                self._write(file, block)

    def _version(self) -> str:
        try:
            note = json.loads(self._version_file.read_text("utf-8"))
            return str(note["version"]) if note["url"] == self.url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _check_space(self) -> None:
        """Raise JobError if the disk has too little space; the bytes of `partial` are kept or overwritten."""
        free = shutil.disk_usage(self.partial.parent).free
        needed = 0 if self.size is None else self.size - self.bytes_received
        if needed > free:
            raise JobError(
                f"{self.name} needs {needed / MIB:.1f} MiB and '{self.partial.parent}' has {free / MIB:.1f} MiB left. Free "
                "some space, or set RESNETS_HOME to another folder."
            )

    def _unwritable(self, error: OSError) -> NoReturn:
        advice = "Set RESNETS_HOME to a folder that can be written."
        if error.errno in FULL:
            advice = (
                "They are kept: free some space and run the same command again, or set RESNETS_HOME to another folder."
            )
        raise JobError(
            f"{self.name}: {self._progress()} were received, then '{self.partial}' could not be written: {error.strerror}. "
            f"{advice}"
        ) from error

    def _refused(self, response: requests.Response) -> NoReturn:
        advice = {
            401: "It asks for a login.",
            403: "It refuses; a proxy or a firewall may do so, too.",
            404: "It has no such file; the publisher may have moved it.",
            407: "The proxy asks for a login; HTTPS_PROXY takes http://user:password@host:port.",
        }.get(response.status_code, "")
        self._give_up(f"HTTP {response.status_code} for {response.url}. {advice}".rstrip(". "))

    def _give_up(self, reason: str) -> NoReturn:
        advice_start = (
            "The received bytes are kept: run the same command again to resume, or"
            if self.bytes_received
            else "Try again later, or"
        )
        host = urlsplit(self.url).netloc
        received = (
            f"{self._progress()} were received from {host}"
            if self.bytes_received or self.size is not None
            else f"no data was received from {host}"
        )
        raise JobError(
            f"{self.name}: {received}: {reason.rstrip('.')}. {advice_start} set "
            f"RESNETS_MIRROR, or put {self.url} at '{self.final}' yourself."
        )

    def _progress(self) -> str:
        return f"{self.bytes_received:,} of {'an unknown number of' if self.size is None else f'{self.size:,}'} bytes"

    def _shown_size(self) -> str:
        return "of unknown size" if self.size is None else f"{self.size / MIB:.1f} MiB"


def _retry_after(value: str | None) -> float | None:
    """Seconds; the header has seconds or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _innermost_reason(error: BaseException) -> str:
    """The message of the innermost exception, which is the specific one."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _innermost_reason(reason)
    # urllib3 starts with the connection: "HTTPSConnection(host='…', port=443): Failed to …".
    return str(error).rpartition("): ")[2] or type(error).__name__
