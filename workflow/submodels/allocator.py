"""How the C library's allocator treats freed buffers. No effect with a library other than glibc."""

import ctypes
import sys


def keep_freed_memory() -> None:
    """Tell glibc to keep large freed buffers for the next operation instead of returning them to the system.

    By default every large temporary is mapped and unmapped again: millions of page faults, a tenth of the time of a
    forward pass on a CPU.
    """
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_* of <malloc.h>
    for parameter, value in ((trim_threshold, -1), (mmap_max, 0), (arena_max, 1)):
        _c_library("mallopt", parameter, value)


def return_freed_memory() -> None:
    """Give freed memory back to the system: buffers kept by `keep_freed_memory`, and holes between buffers in use.

    glibc cannot place an aligned buffer into the hole of an equal buffer, so memory of a loop over large buffers grows;
    returning the holes once a step costs hundredths of a second.
    """
    _c_library("malloc_trim", 0)


def _c_library(function: str, *arguments: int) -> None:
    """Call a function of glibc's; with another C library nothing happens."""
    if sys.platform.startswith("linux") and hasattr(library := ctypes.CDLL(None), function):
        getattr(library, function)(*arguments)
