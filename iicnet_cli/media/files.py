"""Output files that appear complete or not at all."""

from __future__ import annotations

import glob
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iicnet_cli.errors import MediaError, OutputExistsError, UsageError


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse an output file that already exists or whose folder does not exist.

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


def check_png_target(target: Path, overwrite: bool) -> Path:
    """Refuse an output that :func:`check_target` refuses, or that is no PNG; else return it.

    Raises:
        UsageError: it has another suffix.
        OutputExistsError, MediaError: as :func:`check_target`.
    """
    if target.suffix.lower() != ".png":
        raise UsageError(
            f"the output must be a PNG, not '{target.name}'",
            hint="any lossy format would destroy what it holds: use -o NAME.png",
        )
    check_target(target, overwrite)
    return target


def names_folder(target: Path) -> bool:
    """Return whether an output path means a folder: it is one, or its name has no suffix.

    A suffix is a dot and one to five letters or digits, so ``10.30-restored`` has none.
    """
    return target.is_dir() or not re.fullmatch(r"\.[A-Za-z0-9]{1,5}", target.suffix)


def temporary_name(target: Path) -> Path:
    """Return an unused path beside ``target`` with the same suffix."""
    return target.with_name(f"{_temporary_stem(target)}{uuid.uuid4().hex[:8]}{target.suffix}")


def remove_leftovers(target: Path) -> None:
    """Remove what a process that was killed left of ``target`` under temporary names.

    Nobody else may be writing ``target`` at this time.
    """
    pattern = glob.escape(_temporary_stem(target)) + "[0-9a-f]" * 8 + glob.escape(target.suffix)
    for leftover in target.parent.glob(pattern):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _temporary_stem(target: Path) -> str:
    # The checksum tells targets apart whose names are cut to the same stem.
    return f".{target.stem[:30]}-{zlib.crc32(os.fsencode(target.name)):08x}-"


@contextmanager
def replacing(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes ``target`` on success and is removed on an error.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
        MediaError: as `check_target`, or the system refuses to write.
    """
    check_target(target, overwrite)
    # Renaming over a device or a pipe (/dev/stdout) would destroy it, so it is written directly.
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


@contextmanager
def filling_folder(target: Path) -> Iterator[Path]:
    """Yield the folder to write files into that are to be in ``target``.

    If there is no such folder, it is a temporary one that becomes ``target`` on success and is
    removed on an error. Parent folders are created.

    Raises:
        MediaError: the system refuses to write.
    """
    if target.is_dir():
        yield target
        return
    temporary = temporary_name(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        temporary.rename(target)
    except OSError as error:
        raise MediaError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
