"""Output files that appear complete or not at all."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iicnet_cli.errors import MediaError, OutputExistsError


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a target that exists already or whose folder does not.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
        MediaError: ``target`` is a folder, or its parent folder does not exist.
    """
    if target.is_dir():
        raise MediaError(f"{target}: is a folder", hint="name a file in it")
    if target.is_file() and not overwrite:
        raise OutputExistsError(f"{target}: exists already", hint="add -y to overwrite")
    if not target.parent.is_dir():
        raise MediaError(f"{target}: its folder does not exist", hint="create the folder first")


def names_folder(target: Path) -> bool:
    """Whether an output is a folder: there is one, or the name has no suffix.

    A suffix is a dot and up to five letters and digits, so ``10.30-restored`` has none.
    """
    return target.is_dir() or not re.fullmatch(r"\.[A-Za-z0-9]{1,5}", target.suffix)


def temporary_name(target: Path) -> Path:
    """A fresh name beside ``target``, with the same suffix."""
    return target.with_name(f".{target.stem[:40]}-{uuid.uuid4().hex[:8]}{target.suffix}")


@contextmanager
def replacing(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``target``; on success it becomes ``target``, else it goes.

    Raises:
        OutputExistsError, MediaError: as `check_target`; MediaError too when the system refuses.
    """
    check_target(target, overwrite)
    # A device or a pipe (/dev/stdout) is written to itself: renaming over it would destroy it.
    special = target.exists() and not target.is_file()
    temporary = target if special else temporary_name(target)
    try:
        yield temporary
        if not special:
            os.replace(temporary, target)
    except OSError as error:
        raise MediaError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        if not special:
            temporary.unlink(missing_ok=True)
