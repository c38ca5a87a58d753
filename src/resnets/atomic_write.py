"""Files that appear whole or not at all, at the place that the user has named.

A link stays a link: its target is replaced. What is no ordinary file (a device, a pipe, /dev/stdout) is written into, since
a file renamed over it would take its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from resnets.errors import JobError, UserError
from resnets.progress import log

TEMPORARY_PREFIX = ".writing-"  # how the names of temporary files begin; a killed process leaves them behind

MOST_LINKS = 40  # as many as Linux follows
# A file can be written although no other may be made beside it: in a closed folder, or mounted alone into a container.
ONLY_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)

# Where libraries hide the system's error number in their own words: safetensors, HDF5.
_NUMBER = re.compile(r"\(os error (\d+)\)|errno = (\d+)")
# torch.save and numpy do not keep it at all.
_FAILED_WRITE = re.compile(
    r"inline_container|iostream error|file write failed|unable to flush|\d+ requested and \d+ written", re.IGNORECASE
)


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, flush it to disk and rename it over `path`.

    When the block fails, the temporary file is removed and an older file at `path` stays as it was. The temporary
    name ends like `path` does, since savers choose their format by the suffix. Where `path` is no ordinary file, the content
    is copied into it at the end.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
        BrokenPipeError: whoever reads the pipe at `path` has gone away.
    """
    path = Path(path)
    with _as_job_error(path), contextlib.ExitStack() as stack:
        final = _final(path)
        through = stack.enter_context(_stream(path)) if final is None else None
        temporary = _temporary(path, final)
        stack.callback(temporary.unlink, missing_ok=True)
        with _as_job_error(path, temporary):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if through is None and final is not None and temporary.parent == final.parent:
            try:
                temporary.chmod(_mode(final))
                temporary.replace(final)
            except OSError as error:
                if error.errno not in ONLY_IN_PLACE or not final.is_file():
                    raise
            else:
                _flush_folder(final.parent)
                return
        if through is None:
            assert final is not None
            through = stack.enter_context(final.open("wb"))
        with temporary.open("rb") as source:
            shutil.copyfileobj(source, through)
        through.flush()


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 file that appears whole when the block has ended well; to a device or pipe each line goes as it comes.

    File names that are no UTF-8 keep their bytes (the error handler is surrogateescape).

    Raises:
        JobError, BrokenPipeError: as in `replace_file`.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_as_job_error(path))
        place: int | Path
        if streamed := _final(path) is None:
            place = os.dup(stack.enter_context(_stream(path)).fileno())
        else:
            place = stack.enter_context(replace_file(path))
        buffering = 1 if streamed else -1  # 1: each line is written when it ends
        with open(place, "w", buffering, encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file


def link_or_copy(source: Path, path: Path) -> None:
    """Let `path`, in the same folder, be the same file as `source`, which nobody may write into; a copy where there are no links.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
    """
    with replace_file(path) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(source)
        except OSError:  # FAT, some network file systems
            shutil.copyfile(source, temporary)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with _as_job_error(Path(path)):
        if _final(Path(path)) is None:
            with _stream(Path(path)) as file:
                file.write(content)
            return
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all; bytes of file names that are no UTF-8 leave as they came."""
    write_bytes(path, content.encode("utf-8", "surrogateescape"))


def check_file_writable(path: str | Path) -> None:
    """Refuse a place that cannot be written, before the work whose result is to go there. Nothing is left behind.

    Raises:
        JobError: it is a folder, or lies where nothing can be written.
    """
    path = Path(path)
    with _as_job_error(path):
        final = _final(path)
        if final is None:
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        folder = final.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder == final.parent:
            _temporary(path, final).unlink()
        else:
            tempfile.TemporaryFile(dir=folder).close()


def check_folder_writable(path: str | Path) -> None:
    """As `check_file`, for a folder into which files are to go; what already lies in it does not matter."""
    folder = path = Path(path)
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with _as_job_error(path):
        tempfile.TemporaryFile(dir=folder).close()


def _final(path: Path) -> Path | None:
    """The ordinary file, there or not yet, that `path` leads to over any links; None for a device, a pipe or a descriptor.

    Raises:
        OSError: it is a folder, or links lead round in a circle.
    """
    final = path
    for _ in range(MOST_LINKS):
        if _descriptor(final) is not None:
            return None
        if not final.is_symlink():
            break
        final = final.parent / os.readlink(final)
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    try:
        mode = final.stat().st_mode
    except FileNotFoundError:
        return final
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return final if stat.S_ISREG(mode) else None


def _descriptor(path: Path) -> int | None:
    """The number of the open file of this process that `path` (/dev/fd/63, /proc/self/fd/1) stands for."""
    folder = os.path.realpath(path.parent)
    if path.name.isdecimal() and folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
        return int(path.name)
    return None


@contextlib.contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """What stands at `path`, open for writing at its present place."""
    while (number := _descriptor(path)) is None and path.is_symlink():
        path = path.parent / os.readlink(path)
    if number is not None:
        for printed in (sys.stdout, sys.stderr):  # what was printed before comes before
            if printed is not None:
                printed.flush()
        opened = os.dup(number)
    else:
        try:
            opened = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(opened, True)
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(path.stat().st_mode):
                raise
            log(f"waiting for a program that reads the pipe '{path}'")
            opened = os.open(path, os.O_WRONLY)
    with open(opened, "wb") as file:
        yield file


def _temporary(path: Path, final: Path | None) -> Path:
    """An empty file for what will be at `final`: beside it, or where temporary files are when it can be written in place only."""
    suffix = path.suffix or ".part"  # torch.save refuses a name with a dot at its beginning alone
    if final is not None:
        # Checked although a rename would not ask: who has made a file read-only wants it to stay.
        locked = final.exists() and not os.access(final, os.W_OK)
        if locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=final.parent, prefix=TEMPORARY_PREFIX, suffix=suffix)
        except OSError as error:
            if error.errno not in ONLY_IN_PLACE or not final.exists():
                raise
        else:
            os.close(descriptor)
            return Path(name)
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=suffix)
    os.close(descriptor)
    return Path(name)


def _mode(final: Path) -> int:
    """The permissions of the file that is replaced; of a new one those of any other file that this user makes.

    mkstemp gives 0600.
    """
    with contextlib.suppress(OSError):
        return stat.S_IMODE(final.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextlib.contextmanager
def _as_job_error(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn what the system or a library says about a failed write into one line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        reason = write_error_reason(error)
        if reason is None:
            raise
        other = getattr(error, "filename", None)
        if temporary is not None and other is not None and Path(os.fsdecode(other)) not in (temporary, path):
            reason = f"{reason}: '{os.fsdecode(other)}'"  # such as the file that is copied
        unchanged = " What stood there before is unchanged." if temporary is not None and path.exists() else ""
        advice = (
            "Free some space, or choose another place."
            if "full" in reason or "space" in reason
            else "Choose another place."
        )
        raise JobError(f"Cannot write '{path}': {reason}.{unchanged} {advice}") from error


def write_error_reason(error: BaseException) -> str | None:
    """The reason why the system did not write, whichever library passes it on; None for any other error."""
    if isinstance(error, (JobError, UserError)):
        return None
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # its own words may be a library's, of several lines
    if found := _NUMBER.search(str(error)):
        return os.strerror(int(found[1] or found[2]))
    if _FAILED_WRITE.search(str(error)):
        return "the disk may be full"
    return str(error).partition("\n")[0] if isinstance(error, OSError) else None


def _flush_folder(folder: Path) -> None:
    """So that the new name survives a power cut, too, where the file system can promise that."""
    with contextlib.suppress(OSError):  # Windows opens no folder, some network file systems flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
