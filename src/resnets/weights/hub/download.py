"""Download published weights into `weights/NAME/` of the cache directory, with one process at a time."""

from pathlib import Path
from urllib.parse import urlsplit

import requests

from resnets.cache_dir import cache_dir
from resnets.downloads import cached_download
from resnets.downloads.cached_download import mirrored_url, offline, switch
from resnets.hashing import sha256
from resnets.progress import log
from resnets.weights.hub.catalog import PublishedWeights
from resnets.weights.readers import file_type

PROBE_SECONDS = 5.0  # timeout of the first answer of a host that the user did not name


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
        with cached_download.lock(final, entry.name):
            if not _is_complete(entry, final):
                _download_all(entry, final)
    cached_download.check(final, entry.digest, entry.name)
    return final


def unreachable(entry: PublishedWeights) -> str:
    """Why the file of these weights cannot be downloaded now; "" if its host answers within `PROBE_SECONDS`."""
    origin = mirrored_url(entry.url)
    if offline() and urlsplit(origin).scheme != "file":
        return f"{switch()} is set and the published ones are not on this machine"
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


def _is_complete(entry: PublishedWeights, final: Path) -> bool:
    return final.is_file() and all(final.with_name(_name(url)).is_file() for url in entry.beside)


def _download_all(entry: PublishedWeights, final: Path) -> None:
    for url in entry.beside:
        beside = final.with_name(_name(url))
        if not beside.is_file():
            cached_download.download(url, beside, "", f"{entry.name}, {beside.name}", file_type.describe)
    if not final.is_file() and not cached_download.download(
        entry.url, final, entry.digest, entry.name, file_type.describe
    ):
        log(f"{entry.name}: no published hash to compare; its sha256 is {sha256(final)}")


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]
