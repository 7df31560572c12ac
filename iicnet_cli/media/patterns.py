"""Patterns that stand for many files: globs, and numbers as ffmpeg writes them."""

from __future__ import annotations

import glob
import re
from pathlib import Path

_NUMBER = re.compile(r"%(0?)(\d?)d")


def is_pattern(path: Path) -> bool:
    """Return whether a path is that of no file or folder, but a pattern."""
    if path.exists():
        return False
    # The folder is meant by its name if there is one of that name.
    text = path.name if path.parent.is_dir() else str(path)
    return glob.has_magic(text) or _NUMBER.search(path.name) is not None


def files_of_pattern(pattern: str) -> list[Path]:
    """List the files and folders that fit a pattern, in alphabetical order.

    Folders that exist are meant by their names, brackets included.

    Args:
        pattern: a glob pattern such as f*.png, or a number such as in f%04d.png: so many digits,
            or more without leading zeros.
    """
    path = Path(pattern)
    folder = path.parent
    literal = glob.escape(str(folder)) if folder.is_dir() else str(folder)
    name = path.name
    number = _NUMBER.search(name)
    if number is None:
        found = glob.glob(str(Path(literal) / name), recursive=True)
        return [Path(file) for file in sorted(found)]
    before, after = name[: number.start()], name[number.end() :]
    digits = int(number[2] or 0) if number[1] else 1
    wanted = re.compile(
        rf"{re.escape(before)}(\d{{{digits}}}|[1-9]\d{{{digits},}}){re.escape(after)}"
    )
    found = glob.glob(str(Path(literal) / f"{glob.escape(before)}*{glob.escape(after)}"))
    return [Path(file) for file in sorted(found) if wanted.fullmatch(Path(file).name)]
