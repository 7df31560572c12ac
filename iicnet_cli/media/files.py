"""Output files and folders that appear complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iicnet_cli.errors import IICNetError, MediaError, OutputExistsError, UsageError
from iicnet_cli.media.folder_exchange import exchange
from iicnet_cli.media.kept_files import check_not_kept
from iicnet_cli.media.suffixes import RAW_SUFFIXES, STILL_SUFFIXES, VECTOR_SUFFIXES, VIDEO_SUFFIXES
from iicnet_cli.media.temporary import remove_abandoned, temporary_name

_MAX_NAME_BYTES = 255
"""File systems take names of this many bytes, unless they say otherwise."""

_FRAME_NAME = re.compile(r"\d{5,}\.png")
"""How the frames of a clip are called in a folder."""

_MAX_SUFFIX_BYTES = 6
"""A default name leaves room for another suffix of this many bytes."""

_FILE_SUFFIXES = STILL_SUFFIXES | VIDEO_SUFFIXES | RAW_SUFFIXES | VECTOR_SUFFIXES | {".ora"}


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse an output file that could not be written, before any work is done for it.

    Raises:
        UsageError: ``target`` is an input.
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
        MediaError: ``target`` is a folder, a device, a pipe, a link to nothing or read-only, its
            name is too long, or its folder does not exist or cannot be written to.
    """
    _check_name(target)
    if target.is_dir():
        raise MediaError(f"{target}: is a folder", hint="name a file in it")
    if target.exists() and not target.is_file():
        raise MediaError(f"{target}: is no regular file", hint="-o - writes to a pipe")
    if target.is_symlink() and not target.exists():
        raise MediaError(f"{target}: is a link to nothing", hint="remove the link first")
    check_not_kept(target)
    if target.is_file() and not overwrite:
        raise _exists(target)
    if not target.parent.is_dir():
        raise MediaError(f"{target}: its folder does not exist", hint="create the folder first")
    _check_writable(target.resolve())


def check_picture_target(
    target: Path, overwrite: bool, suffixes: tuple[str, ...] = (".png",)
) -> Path:
    """Refuse an output that :func:`check_target` refuses, or that is no such picture; return it.

    Args:
        target: the output.
        overwrite: whether it may exist.
        suffixes: of the files that can carry an embedding, in lower case.

    Raises:
        UsageError: it has another suffix, or as :func:`check_target`.
        OutputExistsError, MediaError: as :func:`check_target`.
    """
    if target.suffix.lower() not in suffixes:
        kinds = " or ".join(suffix[1:].upper() for suffix in suffixes if suffix != ".jpeg")
        raise UsageError(
            f"the output must be a {kinds}, not '{target.name}'",
            hint="any other format would destroy what it holds: use -o NAME.png",
        )
    check_target(target, overwrite)
    return target


def check_folder_target(target: Path) -> None:
    """Refuse an output folder that could not be written, before any work is done for it.

    Raises:
        MediaError: its name is too long, it is a file, or it cannot be created or written to.
    """
    _check_name(target)
    for folder in (target, *target.parents):
        if folder.exists():
            if not folder.is_dir():
                raise MediaError(f"{folder}: is not a folder", hint="choose another -o")
            _check_writable(folder / "file")
            return
        if folder.is_symlink():
            raise MediaError(f"{folder}: is a link to nothing", hint="remove the link first")


def names_folder(target: Path) -> bool:
    """Return whether an output path means a folder: it is one, or has no suffix of a medium.

    ``photos.v2`` and ``10.30-restored`` mean folders, ``photos.png`` does not.
    """
    return target.is_dir() or target.suffix.lower() not in _FILE_SUFFIXES


def named_after(source: Path, ending: str) -> Path:
    """Return the path beside ``source`` with its stem and an ending, cut to what systems take."""
    room = _MAX_NAME_BYTES - _MAX_SUFFIX_BYTES - len(os.fsencode(ending))
    stem = os.fsencode(source.stem)[:room].decode(errors="ignore")
    return source.parent / f"{stem}{ending}"


@contextmanager
def replacing(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes ``target`` on success and is removed on an error.

    What a link leads to is replaced, not the link.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false; also if somebody else has
            written it meanwhile.
        MediaError: as `check_target`, or the system refuses to write.
    """
    check_target(target, overwrite)
    final = target.resolve() if target.is_symlink() else target
    remove_abandoned(final.parent)
    temporary = temporary_name(final)
    with _errors_name(target, instead_of=temporary):
        try:
            yield temporary
            _give_name(temporary, final, overwrite)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def filling_folder(
    target: Path, *, overwrite: bool = False, only_frames: bool = False
) -> Iterator[Path]:
    """Yield a temporary folder for the files that are to be in ``target``.

    On success it becomes ``target``. If that exists, its other files stay: where the system can
    exchange folders in one step, they are linked into the new one first; else the new files move
    into ``target`` one by one. On an error the temporary folder is removed. Parent folders are
    created.

    Args:
        target: the folder.
        overwrite: replace files of the same names.
        only_frames: with ``overwrite``, replace all numbered frames, too (00000.png).

    Raises:
        UsageError: an input in ``target`` would be replaced.
        OutputExistsError: ``target`` has a file of one of the names, and ``overwrite`` is false.
        MediaError: as `check_folder_target`, or the system refuses to write.
    """
    check_folder_target(target)
    final = target.resolve() if target.is_dir() else target
    # Inside an existing folder if its parent is not writable, or is another file system.
    inside = target.is_dir() and not (overwrite and _has_parent_to_write(final))
    temporary = temporary_name(final / "files" if inside else final)
    with _errors_name(target, instead_of=temporary):
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(temporary.parent)
            temporary.mkdir()
            yield temporary
            if not final.is_dir() and _rename_folder(temporary, final):
                return
            replaced = {path.name for path in temporary.iterdir()}
            if overwrite and only_frames:
                replaced |= {p.name for p in final.iterdir() if _FRAME_NAME.fullmatch(p.name)}
            for name in replaced:
                check_not_kept(final / name)
            if not (overwrite and _replace_folder(temporary, final, replaced)):
                obsolete = replaced - {path.name for path in temporary.iterdir()}
                _move_files(temporary, final, overwrite)
                for name in obsolete:
                    (final / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _check_name(target: Path) -> None:
    limit = _MAX_NAME_BYTES
    with suppress(OSError, ValueError, AttributeError):  # no such folder, or not on this system
        limit = os.pathconf(target.parent, "PC_NAME_MAX")
    if len(os.fsencode(target.name)) > limit:
        raise MediaError(
            f"{target.name[:20]}...: its name is longer than {limit} bytes",
            hint="give -o a shorter name",
        )


def _check_writable(target: Path) -> None:
    """Refuse a file that is read-only, or lies in a folder that is."""
    if not os.access(target.parent, os.W_OK):
        raise MediaError(f"{target}: its folder is read-only", hint="choose another place")
    if target.exists() and not os.access(target, os.W_OK):
        raise MediaError(f"{target}: is read-only", hint="choose another name")


def _exists(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target}: exists already", hint="add -y to overwrite")


@contextmanager
def _errors_name(target: Path, *, instead_of: Path) -> Iterator[None]:
    """Let errors of the system and of writers name ``target`` instead of a temporary path."""
    try:
        yield
    except IICNetError as error:
        if str(instead_of) not in str(error):
            raise
        message = str(error).replace(str(instead_of), str(target))
        raise type(error)(message, hint=error.hint) from error
    except OSError as error:
        raise MediaError(f"{target}: cannot be written ({error.strerror or error})") from error


def _give_name(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename a file in one step.

    Raises:
        OutputExistsError: ``target`` exists and ``overwrite`` is false.
    """
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike renaming, it fails if the target exists
        return
    except FileExistsError:
        raise _exists(target) from None
    except OSError:  # a file system without links
        pass
    try:
        target.open("xb").close()
    except FileExistsError:
        raise _exists(target) from None
    os.replace(temporary, target)


def _rename_folder(temporary: Path, target: Path) -> bool:
    """Rename a folder; false if there is one of that name by now, with files in it."""
    try:
        temporary.rename(target)
    except OSError:
        if target.is_dir():
            return False
        raise
    return True


def _has_parent_to_write(folder: Path) -> bool:
    parent = folder.parent
    return os.access(parent, os.W_OK) and parent.stat().st_dev == folder.stat().st_dev


def _replace_folder(source: Path, target: Path, replaced: set[str]) -> bool:
    """Exchange two folders after linking what is to stay of ``target`` into ``source``.

    Args:
        source: the new folder.
        target: the old folder; all else of it stays.
        replaced: names of the new files, and of old ones that are not to stay.

    Returns:
        Whether that could be done; ``target`` is as it was otherwise.
    """
    if source.parent == target:
        return False
    linked: set[str] = set()
    try:
        for path in target.iterdir():
            if path.is_dir():
                return False
            if path.name not in replaced:
                os.link(path, source / path.name, follow_symlinks=False)
                linked.add(path.name)
        shutil.copystat(target, source)
        if not exchange(source, target):
            return False
        kept, linked = linked, set()
        for path in source.iterdir():  # somebody else may have written files meanwhile
            if path.name not in replaced | kept and not (target / path.name).exists():
                with suppress(OSError):
                    path.rename(target / path.name)
        return True
    except (OSError, NotImplementedError):  # a file system without links
        return False
    finally:
        for name in linked:
            (source / name).unlink(missing_ok=True)


def _move_files(source: Path, target: Path, overwrite: bool) -> None:
    """Move files into a folder; if that fails, those that replaced nothing are removed again.

    Raises:
        OutputExistsError: one of the names is taken and ``overwrite`` is false.
        MediaError: one of them is that of a folder.
    """
    moved: list[Path] = []
    files = sorted(source.iterdir())
    for file in files:
        if (target / file.name).is_dir():
            raise MediaError(f"{target / file.name}: is a folder", hint="choose another -o")
    try:
        for file in files:
            _give_name(file, target / file.name, overwrite)
            moved.append(target / file.name)
    except BaseException:
        for path in [] if overwrite else moved:
            path.unlink(missing_ok=True)
        raise
