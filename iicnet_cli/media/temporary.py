"""Temporary files and folders, which a later run removes if the run that made them was killed.

Each name says which process on which machine made it.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

# What it is for (a checksum of the target's name), machine, process, and random characters.
_TEMPORARY = re.compile(
    r"(\..*-)?iicnet-(?P<target>[0-9a-f]{8})-(?P<machine>[0-9a-f]{8})-(?P<process>[0-9]{1,10})-"
    r"[0-9a-z_]{8}(\..*)?",
    re.DOTALL,
)
_MAX_STEM, _MAX_SUFFIX_BYTES = 30, 20


def temporary_name(target: Path) -> Path:
    """Return an unused path beside ``target``, with the same suffix unless that is very long."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _MAX_SUFFIX_BYTES else ""
    random = uuid.uuid4().hex[:8]
    return target.with_name(f".{target.stem[:_MAX_STEM]}-{_made_here(target.name)}{random}{suffix}")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder in the system's temporary folder; it is removed in the end."""
    remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_made_here("")) as folder:
        yield Path(folder)


@cache
def remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that are gone left in a folder, once in this process.

    What another machine or another user has made stays.
    """
    for path, parts in _temporary_files(folder):
        is_ours = parts["machine"] == _machine() and _is_own(path)
        if is_ours and not _is_running(int(parts["process"])):
            _remove(path)


def remove_leftovers(target: Path) -> None:
    """Remove what any process left of ``target`` under temporary names.

    Nobody else may be writing ``target`` at this time.
    """
    for path, parts in _temporary_files(target.parent):
        if parts["target"] == _checksum(target.name):
            _remove(path)


def _temporary_files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    """The files and folders in ``folder`` that have temporary names, with the parts of those."""
    with suppress(OSError):
        with os.scandir(folder) as entries:
            found = ((Path(entry.path), _TEMPORARY.fullmatch(entry.name)) for entry in entries)
            return [(path, parts) for path, parts in found if parts is not None]
    return []


def _is_own(path: Path) -> bool:
    """Whether this user has made a file; true where users are not known."""
    with suppress(OSError):
        return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _made_here(name: str) -> str:
    return f"iicnet-{_checksum(name)}-{_machine()}-{os.getpid()}-"


def _checksum(name: str) -> str:
    # It tells targets apart whose names are cut to the same stem.
    return f"{zlib.crc32(os.fsencode(name)):08x}"


@cache
def _machine() -> str:
    """Where process numbers mean what they mean here: a machine, or a container on it."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return _checksum(f"{platform.node()}/{space}")


def _is_running(process: int) -> bool:
    """Whether there may be such a process on this machine."""
    if os.name == "nt":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
