"""Download one file over HTTP with retries and resume, or copy it from a mirror folder."""

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
TIMEOUT = (5.0, 15.0)  # seconds to connect, and between two blocks
PAUSE_SECONDS = (1.0, 2.0, 4.0, 8.0)  # before each retry, as long as no byte is received
SILENT_TRIES = 2  # of a host that has never answered
MAX_WAIT_SECONDS = 120.0  # that a server may ask to wait
BUSY = (429, 500, 502, 503, 504)


class CutOffError(Exception):
    """The connection failed, or the server is busy; a retry may succeed, after `pause` seconds if the server asks for them."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass
class Transfer:
    """A download into the file `partial`, which is kept after failures and after the process."""

    name: str  # of the file, for messages
    url: str  # an http, https or file URL
    partial: Path  # the file that is written
    final: Path  # where the complete file will be moved to, for messages
    # "sha256:…" or "md5:…", perhaps only its first digits; "" until the server of Hugging Face has sent it. Without one, a
    # download is not resumed.
    digest: str
    size: int | None = None  # in bytes; None until a server has sent it
    resumed: bool = False  # whether the first bytes are from an earlier connection
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
        while True:
            try:
                self._attempt()
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
        self.resumed = False

    def _attempt(self) -> None:
        headers = {"Accept-Encoding": "identity"}
        if self.bytes_received:
            headers["Range"] = f"bytes={self.bytes_received}-"
        try:
            with requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                self._answered = True
                self._receive(response)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            # The specific reason comes last: "HTTPSConnection(host='…', port=443): …: [Errno 111] Connection refused".
            reason = str(error).rpartition(": ")[2].strip("()'\" ")
            raise CutOffError(f"the connection failed: {reason}") from error
        except requests.RequestException as error:
            self._give_up(str(error))
        except OSError as error:
            self._unwritable(error)
        if self.size is not None and self.bytes_received < self.size:
            raise CutOffError("the connection ended early")

    def _receive(self, response: requests.Response) -> None:
        status = response.status_code
        for answer in (*response.history, response):
            # A header of huggingface_hub/constants.py: the hash of the file, in the redirect to the storage.
            etag = answer.headers.get("X-Linked-Etag", "").strip('"')
            if not self.digest and re.fullmatch("[0-9a-f]{64}", etag):
                self.digest = f"sha256:{etag}"
        if status in BUSY:
            reason = "the server has too many requests" if status == 429 else f"the server fails (HTTP {status})"
            pause = response.headers.get("Retry-After", "")
            raise CutOffError(reason, float(pause) if pause.isdigit() else None)
        begin = f"bytes {self.bytes_received}-"
        if status == 416 or (status == 206 and not response.headers.get("Content-Range", "").startswith(begin)):
            self.discard()
            raise CutOffError("the bytes received earlier are of another file")
        if status == 206 and not self.digest:
            self.discard()
            raise CutOffError("no hash shows whether the bytes received earlier are of the same file")
        if status not in (200, 206):
            self._give_up(f"HTTP {status} for {response.url}; it may have moved, or a proxy or a firewall refuses it")
        self.resumed = status == 206
        if self.bytes_received and not self.resumed:
            log(f"{self.name}: the download is not resumed; starting again")
        start = self.bytes_received if self.resumed else 0
        if self.size is None or not self.resumed:
            length = response.headers.get("Content-Length", "")
            self.size = start + int(length) if length.isdigit() else None
            size = "of unknown size" if self.size is None else f"{self.size / MIB:.1f} MiB"
            here = f", {start / MIB:.1f} MiB of it are here" if start else ""
            log(f"downloading {self.name}: {size} from {urlsplit(self.url).netloc}{here}")
        left = None if self.size is None else math.ceil((self.size - start) / MIB)
        with self.partial.open("ab" if start else "wb", buffering=0) as file:
            written = self._written_mib(response, file)
            for _ in progress_bar(written, description=f"downloading {self.name}", total=left, unit="MiB"):
                pass

    def _written_mib(self, response: requests.Response, file: BinaryIO) -> Iterator[int]:
        """Write what is received, and yield once for each MiB."""
        written = 0
        for block in response.iter_content(BLOCK):
            file.write(block)
            written += len(block)
            if self.size is None and written > MAX_BYTES:
                self.discard()
                raise JobError(
                    f"{self.name}: more than {MAX_BYTES / MIB:,.0f} MiB were received of a file whose size "
                    f"{urlsplit(self.url).netloc} does not state; it was removed."
                )
            if written // MIB > (written - len(block)) // MIB:
                yield written

    def _copy(self) -> None:
        original = Path(unquote(urlsplit(self.url).path))
        if not original.is_file():
            raise JobError(f"{self.name}: there is no file '{original}'. RESNETS_MIRROR names its first folder.")
        self.size = original.stat().st_size
        log(f"copying {self.name}: {self.size / MIB:.1f} MiB from '{original}'")
        try:
            shutil.copyfile(original, self.partial)
        except OSError as error:
            self._unwritable(error)

    def _unwritable(self, error: OSError) -> NoReturn:
        raise JobError(
            f"{self.name}: {self._progress()} were received, then '{self.partial}' could not be written: {error.strerror}. "
            "They are kept: free some space and run the same command again, or set RESNETS_HOME to another folder."
        ) from error

    def _give_up(self, reason: str) -> NoReturn:
        again = "Run the same command again to resume" if self.bytes_received else "Try again later"
        received = "no data was" if self.size is None and not self.bytes_received else f"{self._progress()} were"
        raise JobError(
            f"{self.name}: {received} received from {urlsplit(self.url).netloc}: {reason.rstrip('.')}. {again}, or set "
            f"RESNETS_MIRROR, or put {self.url} at '{self.final}' yourself."
        )

    def _progress(self) -> str:
        return f"{self.bytes_received:,} of {'an unknown number of' if self.size is None else f'{self.size:,}'} bytes"
