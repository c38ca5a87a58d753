"""Download a file once into the cache directory and check its hash.

Environment variables:

    RESNETS_HOME      the cache directory
    RESNETS_OFFLINE   1: download nothing; a missing file is an error that says where to put it. HF_HUB_OFFLINE=1 does the same
    RESNETS_MIRROR    an http, https or file URL below which the files are stored as HOST/PATH, as `wget -x` does
    HF_ENDPOINT       another URL for https://huggingface.co, as huggingface_hub reads it
    HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE    as in requests
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from resnets import atomic_write
from resnets.downloads.http_download import Transfer
from resnets.errors import JobError, UserError
from resnets.hashing import hash_file, sha256
from resnets.progress import log

HUB = "https://huggingface.co"
SUM = ".sha256"  # suffix of the file with the hash at the time of the download


def offline() -> bool:
    """Whether the user has disabled downloads."""
    values = (os.environ.get(name, "0").lower() for name in ("RESNETS_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value not in ("", "0", "false") for value in values)


def switch() -> str:
    """The environment variable that disables downloads."""
    return "RESNETS_OFFLINE" if os.environ.get("RESNETS_OFFLINE", "0") not in ("", "0") else "HF_HUB_OFFLINE"


def mirrored_url(url: str) -> str:
    """The URL that `url` is downloaded from: itself, or the one on the mirror.

    Raises:
        UserError: RESNETS_MIRROR is not a URL.
    """
    mirror = os.environ.get("RESNETS_MIRROR", "")
    if not mirror:
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
        return endpoint + url.removeprefix(HUB) if url.startswith(f"{HUB}/") else url
    if urlsplit(mirror).scheme not in ("http", "https", "file"):
        raise UserError(f"RESNETS_MIRROR is a URL with http://, https:// or file:///; received '{mirror}'.")
    split_url = urlsplit(url)
    return f"{mirror.rstrip('/')}/{split_url.netloc}{split_url.path}"


def download(url: str, final: Path, digest: str, name: str, describe: Callable[[Path], str]) -> bool:
    """Download the file to `final`, which appears whole or not at all; hold its `lock` meanwhile.

    Args:
        digest: "sha256:…" or "md5:…", perhaps only its first digits; "" if the publisher gives none.
        name: of the file, for messages.
        describe: what kind of file a wrong one is, for the message.

    Returns:
        Whether the file was compared with a hash of the publisher.

    Raises:
        UserError: RESNETS_OFFLINE is set, or RESNETS_MIRROR is not a URL.
        JobError: the download failed, or the file is not the publisher's.
    """
    origin = mirrored_url(url)
    if offline() and urlsplit(origin).scheme != "file":
        raise UserError(f"{switch()} is set and {name} is not here. Put {url} at '{final}'.")
    transfer = Transfer(name, origin, final.with_name(f".{final.name}.part"), final, digest)
    transfer.run()
    wrong = mismatch(transfer.partial, transfer.digest)
    if wrong and transfer.resumed:  # the bytes of two downloads may be of different files
        log(f"{name}: {wrong}; downloading it again")
        transfer.discard()
        transfer.run()
        wrong = mismatch(transfer.partial, transfer.digest)
    if wrong:
        kind = describe(transfer.partial)
        transfer.discard()
        raise JobError(
            f"{name}: {wrong}, so it is not what its publisher made (it is {kind}), and was removed. A proxy, a login page "
            f"or the mirror may have changed it; put {url} at '{final}' yourself."
        )
    try:
        atomic_write.write_text(final.with_name(final.name + SUM), f"{sha256(transfer.partial)}\n")
        transfer.partial.replace(final)
    except OSError as error:
        raise JobError(f"Cannot write '{final}': {error.strerror}. Set RESNETS_HOME to another folder.") from error
    return bool(transfer.digest)


def mismatch(path: Path, digest: str) -> str:
    """How the hash of the file differs from `digest`; "" if it is the same."""
    kind, _, expected = digest.partition(":")
    if not expected:
        return ""
    found = hash_file(path, kind)
    return "" if found.startswith(expected) else f"its {kind} is {found[: max(len(expected), 12)]} and not {expected}"


def check(final: Path, digest: str, name: str) -> None:
    """Compare the file with the publisher's hash and with its sha256 at the time of the download.

    The second is stronger if the publisher gives the first digits only, or md5 as Keras does: md5 detects damage, but not a file
    that was made to have the same md5.
    """
    beside = final.with_name(final.name + SUM)
    recorded = beside.read_text("utf-8").strip() if beside.is_file() else ""
    if wrong := mismatch(final, digest) or mismatch(final, f"sha256:{recorded}"):
        raise JobError(f"'{final}' is not {name}: {wrong}. Remove it, and it is downloaded again.")


@contextlib.contextmanager
def lock(final: Path, name: str) -> Iterator[None]:
    """Hold the lock of this file, which the system releases when a process is killed."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(final.with_name(f".{final.name}.lock"))
        try:
            file_lock.acquire(timeout=0)
        except Timeout:
            log(f"another process is downloading {name}; waiting for it")
            file_lock.acquire()
    except OSError as error:
        raise JobError(
            f"Cannot write to '{final.parent}': {error.strerror}. Set RESNETS_HOME to a folder that can be written."
        ) from error
    try:
        yield
    finally:
        file_lock.release()
