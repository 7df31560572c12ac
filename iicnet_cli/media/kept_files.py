"""Inputs, which no output may replace, whatever the name under which it would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path

from iicnet_cli.errors import UsageError
from iicnet_cli.media.patterns import files_of_pattern, is_pattern

_Identity = tuple[int, int]
"""The device and the number of a file on it: the same for all of its names and links."""

_kept: ContextVar[frozenset[_Identity]] = ContextVar("kept", default=frozenset())


@contextmanager
def keeping(inputs: Iterable[str | PathLike[str]]) -> Iterator[None]:
    """Within this context all that writes files refuses to replace these inputs.

    Args:
        inputs: files; folders and patterns stand for the files in them.
    """
    files = {_identity(file) for each in inputs for file in _files_of(Path(each))}
    token = _kept.set(_kept.get() | frozenset(file for file in files if file is not None))
    try:
        yield
    finally:
        _kept.reset(token)


def check_not_kept(output: Path) -> None:
    """Refuse an output that would replace an input.

    Raises:
        UsageError: it is one of them, perhaps by another name.
    """
    kept = _kept.get()
    if kept and _identity(output) in kept:
        raise UsageError(f"{output} is an input, and would be overwritten")


def _files_of(path: Path) -> Iterable[Path]:
    try:
        if path.is_dir():
            return list(path.iterdir())
        return files_of_pattern(str(path)) if is_pattern(path) else [path]
    except OSError:  # whoever opens it will say so
        return []


def _identity(path: Path) -> _Identity | None:
    """``None`` if there is no such file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
