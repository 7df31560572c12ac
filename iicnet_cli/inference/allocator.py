"""The C library's memory allocator."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of the settings of mallopt(3)."""
_MAX_THRESHOLD = 2**31 - 1
"""The largest value of these settings, in bytes."""


def keep_freed_memory() -> None:
    """Let glibc keep freed memory of this process, up to 2 GiB, for what is allocated next.

    By itself glibc gives large blocks back to the system at once; every layer of a network then
    gets new pages, which the system has to clear: 15 to 25 % of the time of a pass. Other
    libraries have no such setting and are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc; no C library to be found: Windows
        return
    for setting in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        mallopt(setting, _MAX_THRESHOLD)
