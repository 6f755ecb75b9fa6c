"""How the C library keeps memory for many threads that each hold large pieces for a moment (mallopt(3))."""

import ctypes
from contextlib import suppress

_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
_ARENAS = 2
_LARGE = 128 * 1024


def keep_little() -> None:
    """Give large pieces back at once, and let threads share what is kept; costs nothing where that is unknown.

    glibc would learn from the first large piece to keep such pieces, in an arena for nearly each thread.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, _ARENAS)
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _LARGE)
