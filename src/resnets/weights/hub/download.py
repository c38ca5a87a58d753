"""Published weights on this machine: fetched once, whole, proven by their hash, by one process for all.

They stand under `weights/NAME/` in the folder of `RESNETS_HOME`. Environment variables:

    RESNETS_HOME      where to keep what is fetched
    RESNETS_OFFLINE   1: download nothing; a missing file is an error that says where to put it. HF_HUB_OFFLINE=1 as well
    RESNETS_MIRROR    http, https or file: an address under which the files stand as HOST/PATH, as `wget -x` lays them down
    HF_ENDPOINT       another address for https://huggingface.co, as huggingface_hub reads it
    HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE    as everywhere
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout

from resnets import atomic_write
from resnets.errors import JobError, UserError
from resnets.files import cache_dir, hash_file, sha256
from resnets.progress import log
from resnets.weights.hub.catalog import Published
from resnets.weights.hub.resumable import Transfer
from resnets.weights.readers import file_type

HUB = "https://huggingface.co"
PROBE_SECONDS = 5.0  # for the first answer of a host that nobody asked for by name
SUM = ".sha256"  # beside each file: its hash, when it was fetched


def place(entry: Published) -> Path:
    """Where the file of these weights stands, or will."""
    return cache_dir() / "weights" / entry.name / entry.file_name


def fetch(entry: Published) -> Path:
    """The file of these weights, fetched when it is not here yet; what belongs to it stands beside it.

    Its hash is compared with the publisher's each time. Several processes may ask for the same file at once.

    Raises:
        UserError: RESNETS_OFFLINE is set and the file is not here, or RESNETS_MIRROR is no address.
        JobError: the file could not be had, or is another one than the publisher's.
    """
    final = place(entry)
    if not _whole(entry, final):
        with _alone(final, entry.name):
            if not _whole(entry, final):
                _fetch_all(entry, final)
    _check(final, entry.digest, entry.name)
    return final


def unreachable(entry: Published) -> str:
    """Why the file of these weights cannot be downloaded now; "" where its host answers within `PROBE_SECONDS`."""
    origin = source(entry.address)
    if offline() and urlsplit(origin).scheme != "file":
        return f"{_switch()} is set and the published ones are not on this machine"
    if urlsplit(origin).scheme == "file":
        return ""
    try:
        with requests.get(
            origin, stream=True, timeout=PROBE_SECONDS, headers={"Accept-Encoding": "identity"}
        ) as answer:
            return "" if answer.ok else f"{entry.host} answers with HTTP {answer.status_code}"
    except requests.exceptions.Timeout:
        return f"{entry.host} does not answer within {PROBE_SECONDS:g} s"
    except requests.exceptions.RequestException as error:
        return f"{entry.host} cannot be reached ({type(error).__name__})"


def offline() -> bool:
    """Whether the user has switched downloads off."""
    return any(
        os.environ.get(name, "0").lower() not in ("", "0", "false") for name in ("RESNETS_OFFLINE", "HF_HUB_OFFLINE")
    )


def _switch() -> str:
    """The variable that switches downloads off."""
    return "RESNETS_OFFLINE" if os.environ.get("RESNETS_OFFLINE", "0") not in ("", "0") else "HF_HUB_OFFLINE"


def source(address: str) -> str:
    """Where `address` is fetched from: itself, or its place on the mirror.

    Raises:
        UserError: RESNETS_MIRROR is not an address.
    """
    mirror = os.environ.get("RESNETS_MIRROR", "")
    if not mirror:
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
        return endpoint + address.removeprefix(HUB) if address.startswith(f"{HUB}/") else address
    if urlsplit(mirror).scheme not in ("http", "https", "file"):
        raise UserError(f"RESNETS_MIRROR is an address with http://, https:// or file:///; received '{mirror}'.")
    parts = urlsplit(address)
    return f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}"


def _whole(entry: Published, final: Path) -> bool:
    return final.is_file() and all(final.with_name(_name(address)).is_file() for address in entry.beside)


def _fetch_all(entry: Published, final: Path) -> None:
    for address in entry.beside:
        beside = final.with_name(_name(address))
        if not beside.is_file():
            _download(address, beside, "", f"{entry.name}, {beside.name}")
    if not final.is_file() and not _download(entry.address, final, entry.digest, entry.name):
        log(f"{entry.name}: nobody told its hash; sha256 is {sha256(final)}")


def _download(address: str, final: Path, digest: str, what: str) -> bool:
    """Bring the file to its place, and say whether a hash of the publisher proved it."""
    origin = source(address)
    if offline() and urlsplit(origin).scheme != "file":
        raise UserError(f"{_switch()} is set and {what} is not here. Put {address} at '{final}'.")
    transfer = Transfer(what, origin, final.with_name(f".{final.name}.part"), final, trusted=bool(digest))
    transfer.run()
    wrong = _difference(transfer, digest)
    if wrong and transfer.resumed:  # the two parts may be of different files
        log(f"{what}: {wrong}; once more from the beginning")
        transfer.forget()
        transfer.run()
        wrong = _difference(transfer, digest)
    if wrong:
        kind = file_type.describe(transfer.part)
        transfer.forget()
        raise JobError(
            f"{what}: {wrong}, so it is not what its publisher made (it is {kind}), and was removed. A proxy, a login page "
            f"or the mirror may have changed it; put {address} at '{final}' yourself."
        )
    found = sha256(transfer.part)
    try:
        with transfer.part.open("rb+") as file:
            os.fsync(file.fileno())
        atomic_write.write_text(final.with_name(final.name + SUM), f"{found}\n")
        transfer.part.replace(final)
    except OSError as error:
        raise JobError(f"Cannot write '{final}': {error.strerror}. Set RESNETS_HOME to another folder.") from error
    transfer.forget()
    return bool(digest or transfer.digest)


def _difference(transfer: Transfer, digest: str) -> str:
    """In what the file differs from what was announced, or ""."""
    if transfer.size is not None and transfer.come != transfer.size:
        return f"{transfer.come:,} bytes came in place of {transfer.size:,}"
    return next((wrong for given in (digest, transfer.digest) if (wrong := _mismatch(transfer.part, given))), "")


def _mismatch(path: Path, digest: str) -> str:
    kind, _, wanted = digest.partition(":")
    if not wanted:
        return ""
    found = hash_file(path, kind)
    return "" if found.startswith(wanted) else f"its {kind} is {found[: max(len(wanted), 12)]} and not {wanted}"


def _check(final: Path, digest: str, what: str) -> None:
    """The file at hand, with the publisher's hash and with the sha256 of the day when it was fetched.

    The second is worth more where the publisher gives the first digits, or md5 as Keras does for want of another: md5 finds
    damage, and not a file that was made to have it.
    """
    beside = final.with_name(final.name + SUM)
    noted = beside.read_text("utf-8").strip() if beside.is_file() else ""
    own = f"sha256:{noted}" if re.fullmatch("[0-9a-f]{64}", noted) else ""
    if wrong := _mismatch(final, digest) or (_mismatch(final, own) if own != digest else ""):
        raise JobError(f"'{final}' is not {what}: {wrong}. Remove it, and it is fetched again.")


@contextlib.contextmanager
def _alone(final: Path, what: str) -> Iterator[None]:
    """Hold the lock of this file, which the system gives back when a process is killed."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(final.with_name(f".{final.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"another process is fetching {what}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise JobError(
            f"Cannot write to '{final.parent}': {error.strerror}. Set RESNETS_HOME to a folder that can be written."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _name(address: str) -> str:
    return urlsplit(address).path.rpartition("/")[2]
