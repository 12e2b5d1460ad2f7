"""The C library's allocator, asked to give back what it keeps."""

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        function: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return function


def return_free_memory() -> None:
    """Return the pages that nothing lives on to the system (glibc's malloc_trim; nothing where there is none).

    glibc returns by itself only what is free at the end of a heap, and every thread has a heap of its own: after a
    hundred bodies of 5 MB had gone, 130 to 160 MiB stayed, whatever its settings (`MALLOC_ARENA_MAX`, thresholds), and
    all of it came back by this. Takes some milliseconds for each 100 MiB, so it is for a thread.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
