"""The bytes of one file over HTTP or from a folder: begun, cut off, gone on with, and counted."""

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
BLOCK = 2**16  # bytes that are written at once, so that little is lost when the connection ends
LARGEST = 4 * 2**30  # bytes of a file whose size was not announced; published weights have less than 1 GiB
TIMEOUT = (5.0, 60.0)  # seconds to connect, and between two blocks
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each new try, as long as nothing comes
FIRST = 15.0  # seconds for the first answer of a host
SILENT_TRIES = 2  # of a host that has not answered once
LONGEST_WAIT = 120.0  # seconds that a server may ask us to wait before we give up
BUSY = (429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CutOffError(Exception):
    """The connection failed, or the server is busy; another try may do better.

    `pause` is what the server asks for, in seconds, or None.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class Transfer:
    """A file on its way into `part`, which outlives failures and the process.

    Attributes:
        what: its name for the person.
        address: http, https or file.
        part: where its first bytes lie, or will.
        final: where it will stand; for messages.
        trusted: whether a published hash will be compared, so that bytes of an earlier day are safe to go on with.
        size: in bytes; None until a server has told it.
        digest: "sha256:…" as the server of Hugging Face tells it, or "".
        resumed: whether a part of it came with an earlier connection.
    """

    what: str
    address: str
    part: Path
    final: Path
    trusted: bool
    size: int | None = None
    digest: str = ""
    resumed: bool = False
    _announced: bool = False
    _answered: bool = False

    def run(self) -> None:
        """Bring the whole file into `part`.

        Raises:
            JobError: it cannot be had; the message says how many bytes of how many came, and what to do.
        """
        if urlsplit(self.address).scheme == "file":
            self._copy()
            return
        tries, most = 0, self.come
        with requests.Session() as session:
            while True:
                try:
                    self._attempt(session)
                    return
                except CutOffError as cut:
                    tries = 1 if self.come > most else tries + 1
                    most = max(most, self.come)
                    if tries > len(PAUSES) or (not self._answered and tries >= SILENT_TRIES):
                        self._give_up(str(cut))
                    pause = PAUSES[tries - 1] if cut.pause is None else cut.pause
                    if pause > LONGEST_WAIT:
                        self._give_up(f"{cut}; it asks to wait {pause:.0f} s")
                    log(f"{self.what}: {cut}; trying again in {pause:g} s")
                    time.sleep(pause)

    @property
    def come(self) -> int:
        """How many bytes are there."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Remove what came."""
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.resumed = False

    @property
    def _note(self) -> Path:
        """What the server called the version that `part` holds the beginning of."""
        return self.part.with_name(f"{self.part.name}.json")

    def _attempt(self, session: requests.Session) -> None:
        headers = {"Accept-Encoding": "identity"}
        version = self._version()
        if self.come and (version or self.trusted):
            headers["Range"] = f"bytes={self.come}-"
            if version:
                headers["If-Range"] = version
        timeout = (TIMEOUT[0], TIMEOUT[1] if self._answered else min(TIMEOUT[1], FIRST))
        try:
            with session.get(self.address, headers=headers, stream=True, timeout=timeout) as response:
                self._answered = True
                self._receive(response)
        except requests.exceptions.Timeout as error:
            raise CutOffError("nothing came for a while") from error
        except requests.exceptions.ProxyError as error:
            raise CutOffError("the proxy cannot be reached (see HTTPS_PROXY)") from error
        except requests.exceptions.SSLError as error:
            self._give_up(
                f"its certificate is not accepted ({_last(error)}); REQUESTS_CA_BUNDLE names another authority"
            )
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise CutOffError(f"the connection failed: {_last(error)}") from error
        except requests.exceptions.RequestException as error:
            self._give_up(_last(error))
        if self.size is not None and self.come < self.size:
            raise CutOffError("the connection ended early")

    def _receive(self, response: requests.Response) -> None:
        status = response.status_code
        self._read_digest(response)
        if status in BUSY:
            reason = "the server has too many requests" if status == 429 else f"the server fails (HTTP {status})"
            raise CutOffError(reason, _retry_after(response.headers.get("Retry-After")))
        if status == 416:  # nothing follows what is there: it is whole, or of another file
            if response.headers.get("Content-Range") == f"bytes */{self.come}":
                self.size = self.come
                return
            self.forget()
            raise CutOffError("what came earlier is of another file")
        if status not in (200, 206):
            self._refused(response)
        self._read_headers(response)
        with self._writing("ab" if status == 206 else "wb") as file:
            for _ in self._shown(response, file):
                pass

    def _read_digest(self, response: requests.Response) -> None:
        for answer in (*response.history, response):
            # A header of huggingface_hub/constants.py: what the redirect to the storage says of the file there.
            told = answer.headers.get("X-Linked-Etag", "").strip('"')
            if re.fullmatch("[0-9a-f]{64}", told):
                self.digest = f"sha256:{told}"

    def _read_headers(self, response: requests.Response) -> None:
        self.resumed = response.status_code == 206
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        if self.resumed:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != self.come:
                self.forget()
                raise CutOffError("the server sends another part than was asked for")
            size = int(found[2])
        elif self.come:
            log(f"{self.what}: the server does not go on where it was cut off; from the beginning")
        self.size = size
        self._check_space()
        version = response.headers.get("ETag", "")
        # A weak ETag does not promise the same bytes (RFC 9110, 8.8.3).
        strong = version if version and not version.startswith("W/") else response.headers.get("Last-Modified", "")
        self._note.write_text(json.dumps({"address": self.address, "version": strong}), encoding="utf-8")
        if not self._announced:
            self._announced = True
            start = f", {self.come / MIB:.1f} MiB of it are here" if self.resumed else ""
            log(f"fetching {self.what}: {self._shown_size()} from {urlsplit(self.address).netloc}{start}")

    def _shown(self, response: requests.Response, file: BinaryIO) -> Iterator[int]:
        left = None if self.size is None else math.ceil((self.size - (self.come if self.resumed else 0)) / MIB)
        return progress_bar(self._pieces(response, file), description=f"fetching {self.what}", total=left, unit="MiB")

    def _pieces(self, response: requests.Response, file: BinaryIO) -> Iterator[int]:
        """Write what comes, and yield once for each MiB."""
        written = 0
        for block in response.iter_content(BLOCK):
            self._write(file, block)
            if self.size is None and self.come > LARGEST:
                self.forget()
                raise JobError(
                    f"{self.what}: more than {LARGEST / MIB:,.0f} MiB came of a file whose size {urlsplit(self.address).netloc} "
                    "does not tell; it was removed."
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
            return self.part.open(mode, buffering=0)  # type: ignore[return-value]
        except OSError as error:
            self._unwritable(error)

    def _copy(self) -> None:
        source = Path(unquote(urlsplit(self.address).path))
        if not source.is_file():
            raise JobError(f"{self.what}: there is no file '{source}'. RESNETS_MIRROR names its first folder.")
        self.size = source.stat().st_size
        self._check_space()
        log(f"copying {self.what}: {self._shown_size()} from '{source}'")
        with source.open("rb") as reader, self._writing("wb") as file:
            while block := reader.read(MIB):
                self._write(file, block)

    def _version(self) -> str:
        try:
            note = json.loads(self._note.read_text("utf-8"))
            return str(note["version"]) if note["address"] == self.address else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _check_space(self) -> None:
        """What is here is either kept or written over, so it needs no room."""
        free = shutil.disk_usage(self.part.parent).free
        needed = 0 if self.size is None else self.size - self.come
        if needed > free:
            raise JobError(
                f"{self.what} needs {needed / MIB:.1f} MiB and '{self.part.parent}' has {free / MIB:.1f} MiB left. Free "
                "some space, or set RESNETS_HOME to another folder."
            )

    def _unwritable(self, error: OSError) -> NoReturn:
        advice = "Set RESNETS_HOME to a folder that can be written."
        if error.errno in FULL:
            advice = (
                "They are kept: free some space and run the same command again, or set RESNETS_HOME to another folder."
            )
        raise JobError(
            f"{self.what}: {self._counted()} came, then '{self.part}' could not be written: {error.strerror}. {advice}"
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
        kept = "What came is kept: run the same command again to go on, or" if self.come else "Try again later, or"
        host = urlsplit(self.address).netloc
        came = (
            f"{self._counted()} came from {host}" if self.come or self.size is not None else f"nothing came from {host}"
        )
        raise JobError(
            f"{self.what}: {came}: {reason.rstrip('.')}. {kept} set "
            f"RESNETS_MIRROR, or put {self.address} at '{self.final}' yourself."
        )

    def _counted(self) -> str:
        return f"{self.come:,} of {'an unknown number of' if self.size is None else f'{self.size:,}'} bytes"

    def _shown_size(self) -> str:
        return "of unknown size" if self.size is None else f"{self.size / MIB:.1f} MiB"


def _retry_after(value: str | None) -> float | None:
    """Seconds; the header gives them or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _last(error: BaseException) -> str:
    """The innermost reason, which is the one that says something."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _last(reason)
    # urllib3 begins with the connection: "HTTPSConnection(host='…', port=443): Failed to …".
    return str(error).rpartition("): ")[2] or type(error).__name__
