"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resnets.errors import JobError

UNFINISHED = ".writing-"  # how the names of temporary files begin; a killed process leaves them behind


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, flush it to disk and rename it over `path`.

    When the block fails, the temporary file is removed and an older file at `path` stays as it was. The temporary
    name ends like `path` does, since savers choose their format by the suffix.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=path.suffix)
        os.close(descriptor)
    except OSError as error:
        raise JobError(f"Cannot write '{path}': {error.strerror}. Choose another place with --out.") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp gives 0600; a result is as readable as any other file that this user makes.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise JobError(f"Cannot write '{path}': {reason}. What stood there before is unchanged.") from error
    finally:
        temporary.unlink(missing_ok=True)


def duplicate(source: Path, path: Path) -> None:
    """Let `path`, in the same folder, be the same file as `source`, which nobody may write into; a copy where there are no links.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(source)
        except OSError:  # FAT, some network file systems
            shutil.copyfile(source, temporary)


def _flush_folder(folder: Path) -> None:
    """So that the new name survives a power cut, too, where the file system can promise that."""
    with contextlib.suppress(OSError):  # Windows opens no folder, some network file systems flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))
