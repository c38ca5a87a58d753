"""Download published weights into the cache directory and check their hash, with one process at a time.

The files are in `weights/NAME/` of the cache directory. Environment variables:

    RESNETS_HOME      the cache directory
    RESNETS_OFFLINE   1: download nothing; a missing file is an error that says where to put it. HF_HUB_OFFLINE=1 does the same
    RESNETS_MIRROR    an http, https or file URL below which the files are stored as HOST/PATH, as `wget -x` does
    HF_ENDPOINT       another URL for https://huggingface.co, as huggingface_hub reads it
    HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE    as in requests
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout

from resnets import atomic_write
from resnets.cache_dir import cache_dir
from resnets.errors import JobError, UserError
from resnets.hashing import hash_file, sha256
from resnets.progress import log
from resnets.weights.hub.catalog import PublishedWeights
from resnets.weights.hub.http_download import Transfer
from resnets.weights.readers import file_type

HUB = "https://huggingface.co"
PROBE_SECONDS = 5.0  # timeout of the first answer of a host that the user did not name
SUM = ".sha256"  # suffix of the file with the hash at the time of the download


def path_of(entry: PublishedWeights) -> Path:
    """The path of the file of these weights, downloaded or not."""
    return cache_dir() / "weights" / entry.name / entry.file_name


def download(entry: PublishedWeights) -> Path:
    """The file of these weights, downloaded if needed; the files that belong to it are in the same folder.

    Its hash is compared with the publisher's each time. Several processes may call this for the same file at once.

    Raises:
        UserError: RESNETS_OFFLINE is set and the file is not on this machine, or RESNETS_MIRROR is not a URL.
        JobError: the download failed, or the file is not the publisher's.
    """
    final = path_of(entry)
    if not _is_complete(entry, final):
        with _lock(final, entry.name):
            if not _is_complete(entry, final):
                _download_all(entry, final)
    _check(final, entry.digest, entry.name)
    return final


def unreachable(entry: PublishedWeights) -> str:
    """Why the file of these weights cannot be downloaded now; "" if its host answers within `PROBE_SECONDS`."""
    origin = mirrored_url(entry.url)
    if offline() and urlsplit(origin).scheme != "file":
        return f"{_switch()} is set and the published ones are not on this machine"
    if urlsplit(origin).scheme == "file":
        return ""
    headers = {"Accept-Encoding": "identity"}
    try:
        with requests.get(origin, stream=True, timeout=PROBE_SECONDS, headers=headers) as answer:
            return "" if answer.ok else f"{entry.host} answers with HTTP {answer.status_code}"
    except requests.exceptions.Timeout:
        return f"{entry.host} does not answer within {PROBE_SECONDS:g} s"
    except requests.exceptions.RequestException as error:
        return f"{entry.host} cannot be reached ({type(error).__name__})"


def offline() -> bool:
    """Whether the user has disabled downloads."""
    values = (os.environ.get(name, "0").lower() for name in ("RESNETS_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value not in ("", "0", "false") for value in values)


def _switch() -> str:
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


def _is_complete(entry: PublishedWeights, final: Path) -> bool:
    return final.is_file() and all(final.with_name(_name(url)).is_file() for url in entry.beside)


def _download_all(entry: PublishedWeights, final: Path) -> None:
    for url in entry.beside:
        beside = final.with_name(_name(url))
        if not beside.is_file():
            _download(url, beside, "", f"{entry.name}, {beside.name}")
    if not final.is_file() and not _download(entry.url, final, entry.digest, entry.name):
        log(f"{entry.name}: no published hash to compare; its sha256 is {sha256(final)}")


def _download(url: str, final: Path, digest: str, name: str) -> bool:
    """Download the file, and return whether it was compared with a hash of the publisher."""
    origin = mirrored_url(url)
    if offline() and urlsplit(origin).scheme != "file":
        raise UserError(f"{_switch()} is set and {name} is not here. Put {url} at '{final}'.")
    transfer = Transfer(name, origin, final.with_name(f".{final.name}.part"), final, digest)
    transfer.run()
    wrong = _mismatch(transfer.partial, transfer.digest)
    if wrong and transfer.resumed:  # the bytes of two downloads may be of different files
        log(f"{name}: {wrong}; downloading it again")
        transfer.discard()
        transfer.run()
        wrong = _mismatch(transfer.partial, transfer.digest)
    if wrong:
        kind = file_type.describe(transfer.partial)
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


def _mismatch(path: Path, digest: str) -> str:
    kind, _, expected = digest.partition(":")
    if not expected:
        return ""
    found = hash_file(path, kind)
    return "" if found.startswith(expected) else f"its {kind} is {found[: max(len(expected), 12)]} and not {expected}"


def _check(final: Path, digest: str, name: str) -> None:
    """Compare the file with the publisher's hash and with its sha256 at the time of the download.

    The second is stronger if the publisher gives the first digits only, or md5 as Keras does: md5 detects damage, but not a file
    that was made to have the same md5.
    """
    beside = final.with_name(final.name + SUM)
    recorded = beside.read_text("utf-8").strip() if beside.is_file() else ""
    if wrong := _mismatch(final, digest) or _mismatch(final, f"sha256:{recorded}"):
        raise JobError(f"'{final}' is not {name}: {wrong}. Remove it, and it is downloaded again.")


@contextlib.contextmanager
def _lock(final: Path, name: str) -> Iterator[None]:
    """Hold the lock of this file, which the system releases when a process is killed."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(final.with_name(f".{final.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"another process is downloading {name}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise JobError(
            f"Cannot write to '{final.parent}': {error.strerror}. Set RESNETS_HOME to a folder that can be written."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]
