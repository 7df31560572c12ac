"""Exchanging two folders in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_AT_FDCWD, _LINUX_EXCHANGE = -100, 2
_MACOS_SWAP = 2


def exchange(one: Path, other: Path) -> bool:
    """Let two folders of one file system change their names; false, and nothing done, if not."""
    first, second = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    try:
        system = ctypes.CDLL(None)
        if sys.platform == "linux":
            failed = system.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _LINUX_EXCHANGE)
        elif sys.platform == "darwin":
            failed = system.renamex_np(first, second, _MACOS_SWAP)
        else:
            return False
    except (OSError, TypeError, AttributeError):  # no such library or function
        return False
    return not failed
