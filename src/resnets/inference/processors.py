"""How many processors a thread computes with: all that torch may use, or fewer where several threads compute at once."""

import threading

import torch

_own = threading.local()


def all_processors() -> int:
    """The number for a thread that computes alone; in a thread that `use` has limited, too."""
    number: int = getattr(_own, "all_processors", None) or torch.get_num_threads()
    return number


def use(number: int) -> None:
    """Compute with so many processors in the calling thread.

    `torch.set_num_threads` sets the number for its thread, and for threads that have not computed yet (ParallelOpenMP.cpp). So
    another thread sets the latter back.
    """
    if torch.get_num_threads() == number:
        return
    _own.all_processors = all_processors()
    torch.set_num_threads(number)
    restoring = threading.Thread(target=torch.set_num_threads, args=(_own.all_processors,))
    restoring.start()
    restoring.join()
