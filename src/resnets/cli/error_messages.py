"""The message of the command line for an exception, in one line, and its exit code."""

import errno
import os
import re
import sysconfig
import traceback

from resnets import atomic_write
from resnets.cli.flags import as_flags
from resnets.connection_errors import is_connection_error, without_quotes
from resnets.data.loading.worker_errors import WORKER_DIED
from resnets.errors import JobError, UserError

OUT_OF_MEMORY = "This machine is out of memory"
LESS_MEMORY = "Use a smaller --batch, --imgsz or model."
_REQUESTED = re.compile(r"[Tt]ried to allocate (\d[\d.]* ?\w+)|allocate (\d+ bytes)")

FILES = "Too many files are open at once. Use fewer --workers, or raise `ulimit -n`."
THREADS = "No more threads or processes can be started. Use fewer --workers."

# Messages of libraries, as patterns, and what they mean. The first match is taken.
KNOWN = (
    (r"DataLoader worker \(pid|process pool was terminated", as_flags(WORKER_DIED)),
    (
        r"shared memory|/dev/shm|torch_shm_manager",
        "The shared memory of this machine (/dev/shm) is full. Use --workers 0, or give a container more with --shm-size.",
    ),
    (r"Too many open files|received 0 items of ancdata", FILES),
    (r"can't start new thread|Resource temporarily unavailable", THREADS),
)


def explain(error: BaseException) -> tuple[str, int]:
    """The message for an error, and the exit code."""
    if isinstance(error, UserError):
        return as_flags(str(error)), 2
    if isinstance(error, JobError):
        return as_flags(str(error)), 1
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_system_error(error), 1
    if memory := _memory(error):
        return memory, 1
    text = " ".join(str(error).split())
    if is_connection_error(error):
        return f"The processes of this job have lost their connection: {text[:200]}", 1
    for pattern, meaning in KNOWN:
        if re.search(pattern, without_quotes(str(error))):
            return meaning, 1
    if not isinstance(error, OSError) and (reason := atomic_write.write_error_reason(error)):
        return f"A file could not be written: {reason}. Free some space, or choose another path.", 1
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("resnets"):
        return f"The package '{error.name}' is not installed: pip install {error.name.partition('.')[0]}", 2
    kind = type(error).__name__
    if library := _library(error):
        return f"{library} raised {kind}: {text[:300]} (RESNETS_DEBUG=1 shows where)", 1
    return (
        f"this is a bug in resnets: {kind}: {text[:300]}; run again with RESNETS_DEBUG=1 to see where, and report it",
        1,
    )


def _memory(error: BaseException) -> str | None:
    """The message for a lack of memory, of a GPU or of the machine; None for another error."""
    text = without_quotes(str(error))
    match = _REQUESTED.search(text)
    requested = f" ({match[1] or match[2]} more were requested)" if match else ""
    on_gpu = type(error).__name__ == "OutOfMemoryError" or re.search(
        r"(CUDA|HIP|MPS|GPU)[^.]* out of memory|ALLOC_FAILED", text
    )
    if on_gpu:
        return f"The GPU is out of memory{requested}. {LESS_MEMORY}"
    if isinstance(error, MemoryError) or re.search(
        r"can't allocate memory|Cannot allocate memory|bad_alloc|out of memory", text
    ):
        return f"{OUT_OF_MEMORY}{requested}. {LESS_MEMORY}"
    return None


def _explain_system_error(error: OSError) -> str:
    known = {
        errno.ENOMEM: f"{OUT_OF_MEMORY}. {LESS_MEMORY}",
        errno.EMFILE: FILES,
        errno.ENFILE: FILES,
        errno.EAGAIN: THREADS,
    }.get(error.errno or 0)
    if known is not None:
        return known
    where = f": '{os.fsdecode(error.filename)}'" if isinstance(error.filename, (str, bytes)) and error.filename else ""
    other = "hoose another path with --out." if where else "hoose another path."  # without a name it is stdout
    advice = {
        errno.ENOSPC: f" Free some space, or c{other}",
        errno.EDQUOT: f" Free some space, or c{other}",
        errno.EFBIG: f" C{other}",
        errno.EACCES: " Check its permissions, or choose another path.",
        errno.EROFS: f" C{other}",
        errno.EIO: " Check the disk.",
        errno.ESTALE: " The network storage is no longer available; try again.",
    }.get(error.errno or 0, "")
    return f"{os.strerror(error.errno or 0)}{where}.{advice}"


def _library(error: BaseException) -> str | None:
    """The package in whose code the error was raised; None where that is ours."""
    named = type(error).__module__.partition(".")[0]
    frames = traceback.extract_tb(error.__traceback__)
    file = frames[-1].filename if frames else ""
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        if file.startswith(folder + os.sep):
            return file[len(folder) + 1 :].split(os.sep)[0].removesuffix(".py")
    if named not in ("builtins", "resnets", "__main__") and not isinstance(error, OSError):
        return named
    standard = sysconfig.get_path("stdlib")
    return "Python" if file.startswith(standard + os.sep) and "site-packages" not in file else None
