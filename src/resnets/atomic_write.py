"""Atomic writes: a file appears whole or not at all.

A link stays a link: its target is replaced. A device, a pipe or /dev/stdout is written into, since renaming a file over it
would replace it.
"""

import contextlib
import csv
import errno
import io
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from resnets.errors import JobError, UserError

TEMPORARY_PREFIX = ".writing-"  # how the names of temporary files begin; a killed process leaves them behind

MAX_LINKS = 40  # as many as Linux follows

# The system's error number within the messages of safetensors and HDF5.
_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)|errno = (\d+)")
# torch.save and numpy do not keep it.
_FAILED_WRITE = re.compile(
    r"inline_container|iostream error|file write failed|unable to flush|\d+ requested and \d+ written", re.IGNORECASE
)


@contextlib.contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends, flush the file to disk and rename it over `path`.

    When the block raises, the temporary file is removed and an older file at `path` stays as it was. The temporary name has
    the suffix of `path`, by which savers choose the format. Where `path` is not an ordinary file, the content is copied into
    it at the end.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
        BrokenPipeError: the reader of the pipe at `path` has gone away.
    """
    path = Path(path)
    with _explain_write_errors(path), contextlib.ExitStack() as stack:
        final = _target_file(path)
        stream = stack.enter_context(_open_special_file(path)) if final is None else None
        temporary = _create_temporary_file(path, final)
        stack.callback(temporary.unlink, missing_ok=True)
        with _explain_write_errors(path, temporary):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if stream is not None:
            with temporary.open("rb") as content:
                shutil.copyfileobj(content, stream)
            stream.flush()
        elif final is not None:
            temporary.chmod(_permissions(final))
            temporary.replace(final)
            _flush_folder(final.parent)


@contextlib.contextmanager
def replace_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends, flush its files to disk and rename it to `path`.

    A folder at `path` is removed with all that is in it. When the block raises, it stays as it was.

    Raises:
        JobError: nothing can be written there, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    with _explain_write_errors(path), contextlib.ExitStack() as stack:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX)))
        new = temporary / "new"
        new.mkdir()
        yield new
        for written in filter(Path.is_file, new.rglob("*")):
            with written.open("rb+") as file:
                os.fsync(file.fileno())
        if path.exists():
            path.rename(temporary / "old")
        new.rename(path)
        _flush_folder(path.parent)


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """Open a UTF-8 file that appears whole when the block ends; a device or pipe gets each line at once.

    Bytes of file names that are not UTF-8 are kept (the error handler is surrogateescape).

    Raises:
        JobError, BrokenPipeError: as in `replace_file`.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_explain_write_errors(path))
        target: int | Path
        if streamed := _target_file(path) is None:
            target = os.dup(stack.enter_context(_open_special_file(path)).fileno())
        else:
            target = stack.enter_context(replace_file(path))
        buffering = 1 if streamed else -1  # 1: each line is written when it ends
        with open(target, "w", buffering, encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file


def link_or_copy(original: Path, path: Path) -> None:
    """Make `path` a hard link to `original`, in the same folder, or a copy where the file system has no links.

    Neither file may be written into afterwards; both may be replaced.

    Raises:
        JobError: the folder cannot be written to, or the disk is full.
    """
    with replace_file(path) as temporary:
        temporary.unlink()
        try:
            temporary.hardlink_to(original)
        except OSError:  # FAT, some network file systems
            shutil.copyfile(original, temporary)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with _explain_write_errors(Path(path)):
        if _target_file(Path(path)) is None:
            with _open_special_file(Path(path)) as file:
                file.write(content)
            return
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path`, whole or not at all; bytes of file names that are not UTF-8 are kept."""
    write_bytes(path, content.encode("utf-8", "surrogateescape"))


def create_text(path: str | Path, content: str) -> None:
    """As `write_text`, but a file that is there, or that another process creates at the same moment, stays as it is."""
    path = Path(path)
    with _explain_write_errors(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY_PREFIX) as folder:
        own = Path(folder) / path.name
        write_text(own, content)
        try:
            path.hardlink_to(own)
        except FileExistsError:
            return
        except OSError:  # FAT, some network file systems
            if not path.exists():
                own.replace(path)
        _flush_folder(path.parent)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` as a CSV file with all their keys as columns; None is an empty cell."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def check_file_writable(path: str | Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is for. Nothing is left behind.

    Raises:
        UserError: it is a folder, or lies where nothing can be written.
    """
    path = Path(path)
    with _explain_write_errors(path, raising=UserError):
        final = _target_file(path)
        if final is None:
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        folder = final.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder == final.parent:
            _create_temporary_file(path, final).unlink()
        else:
            tempfile.TemporaryFile(dir=folder).close()


def check_folder_writable(path: str | Path) -> None:
    """As `check_file_writable`, for a folder; files that are already in it do not matter."""
    folder = path = Path(path)
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with _explain_write_errors(path, raising=UserError):
        tempfile.TemporaryFile(dir=folder).close()


def _target_file(path: Path) -> Path | None:
    """The ordinary file, existing or not, that `path` leads to over links; None for a device, a pipe or a descriptor.

    Raises:
        OSError: it is a folder, or a link leads to itself.
    """
    final = path
    for _ in range(MAX_LINKS):
        if _file_descriptor(final) is not None:
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


def _file_descriptor(path: Path) -> int | None:
    """The number of the open file of this process that `path` (/dev/fd/63, /proc/self/fd/1) stands for."""
    folder = os.path.realpath(path.parent)
    if path.name.isdecimal() and folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
        return int(path.name)
    return None


@contextlib.contextmanager
def _open_special_file(path: Path) -> Iterator[BinaryIO]:
    """The device, pipe or descriptor at `path`, open for writing at its current position."""
    while (number := _file_descriptor(path)) is None and path.is_symlink():
        path = path.parent / os.readlink(path)
    if number is not None:
        for output in (sys.stdout, sys.stderr):  # what was printed earlier stays in front
            if output is not None:
                output.flush()
    with open(os.dup(number) if number is not None else os.open(path, os.O_WRONLY), "wb") as file:
        yield file


def _create_temporary_file(path: Path, final: Path | None) -> Path:
    """An empty temporary file beside `final`, or in the folder for temporary files."""
    if final is not None:
        # Checked, since a rename replaces a read-only file, too.
        if final.exists() and not os.access(final, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        final.parent.mkdir(parents=True, exist_ok=True)
    folder = None if final is None else final.parent
    suffix = path.suffix or ".part"  # torch.save refuses a name without a suffix that begins with a dot
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY_PREFIX, suffix=suffix)
    os.close(descriptor)
    return Path(name)


def _permissions(final: Path) -> int:
    """The permissions of the file that is replaced, or those of a new file by the umask; mkstemp sets 0600."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(final.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextlib.contextmanager
def _explain_write_errors(
    path: Path, temporary: Path | None = None, *, raising: type[JobError] | type[UserError] = JobError
) -> Iterator[None]:
    """Turn an error of the system or of a library about a failed write into an exception of one line."""
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
        unchanged = " The earlier file is unchanged." if temporary is not None and path.exists() else ""
        advice = (
            "Free some space, or choose another path."
            if "full" in reason or "space" in reason
            else "Choose another path."
        )
        raise raising(f"Cannot write '{path}': {reason}.{unchanged} {advice}") from error


def write_error_reason(error: BaseException) -> str | None:
    """The system's reason for a failed write, whichever library raised the error; None for any other error."""
    if isinstance(error, (JobError, UserError)):
        return None
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # its own text may be a library's, of several lines
    if found := _ERROR_NUMBER.search(str(error)):
        return os.strerror(int(found[1] or found[2]))
    if _FAILED_WRITE.search(str(error)):
        return "the disk may be full"
    return str(error).partition("\n")[0] if isinstance(error, OSError) else None


def _flush_folder(folder: Path) -> None:
    """Flush the folder, so that the new name survives a power failure where the file system supports that."""
    with contextlib.suppress(OSError):  # Windows opens no folder, some network file systems flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
