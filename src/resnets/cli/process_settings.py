"""Settings of the command line's own process: telemetry, memory allocator, threads, warnings. No library call sets them."""

import contextlib
import ctypes
import logging
import os

from resnets import resource_limits
from resnets.data.image.pillow_warnings import ignore_pillow_warnings
from resnets.disable_telemetry import disable_telemetry

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def prepare() -> None:
    """Apply all settings, before any large library is imported."""
    disable_telemetry()
    keep_memory()
    limit_threads()
    ignore_pillow_warnings()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # warns without a GPU while it compiles


def keep_memory() -> None:
    """Let this process keep large blocks of memory that it frees, for the next batch.

    Feature maps are tens of MiB, which glibc by default returns to the system at once; the system then has to clear them page
    by page. ResNet-50 at batch 16 on two cores: 21 images/s without, 36 with (fp32); 62 and 76 (bf16). Where one of
    glibc's own variables is set, or without glibc, nothing happens.
    """
    if any(name in os.environ for name in MALLOC_VARIABLES):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def limit_threads() -> None:
    """Limit the threads of libraries to the CPU quota of a container.

    They see the host's processors; with more threads than the quota, all are stopped for the rest of each period.
    """
    quota = resource_limits.cpu_quota()
    if quota is not None and quota < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(resource_limits.cpu_count()))


def wait_without_spinning() -> None:
    """Let the threads of OpenMP sleep while they wait: those of a server wait often, and others need the processor meanwhile.

    To be called before torch is imported. On a busy machine, an image took 132 ms of the processor without and 693 ms with
    spinning threads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
