"""SHA-256 of many files, in parallel."""

from collections.abc import Sequence
from dataclasses import replace

from resnets.data.datasets.dataset import Sample
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError
from resnets.hashing import sha256
from resnets.message_format import format_list, pluralize
from resnets.progress import progress_bar

THREADS = 8  # reading waits for the disk, and hashing lets other threads run
AHEAD = 256


def hash_files(paths: Sequence[str]) -> list[str]:
    """The SHA-256 of each file, in order.

    Raises:
        JobError: files cannot be read; each is named (the first twenty of them).
    """
    failures: list[str] = []

    def hash_file(path: str) -> str:
        try:
            return sha256(path)
        except OSError as error:
            failures.append(f"'{path}': {error.strerror}")
            return ""

    results = ordered_map(hash_file, paths, workers=THREADS, ahead=AHEAD)
    sha256s = list(progress_bar(results, description="hashing", total=len(paths), unit="files"))
    if failures:
        names = format_list(sorted(failures), quote=False, separator="; ")
        raise JobError(f"{pluralize(len(failures), 'file')} cannot be read: {names}.")
    return sha256s


def hash_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The samples with the SHA-256 of their files; only files whose hash is not known are read. Raises as `hash_files`."""
    unknown = [sample.path for sample in samples if sample.sha256 is None]
    sha256s = dict(zip(unknown, hash_files(unknown), strict=True))
    return [replace(sample, sha256=sample.sha256 or sha256s[sample.path]) for sample in samples]
