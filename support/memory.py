"""The C library's memory allocator."""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Of glibc's ``mallopt``."""
LARGEST = 2**30
"""Blocks of up to so many bytes are kept."""


def keep_freed_memory() -> None:
    """Keep what large arrays free for the next ones, instead of giving it back each time.

    A step of training allocates the same large tensors again and again; on glibc the system spent
    up to two thirds of the time on handing out their pages. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST)
    mallopt(M_TRIM_THRESHOLD, 2 * LARGEST - 1)
    mallopt(M_TOP_PAD, LARGEST // 4)
