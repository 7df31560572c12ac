"""Patterns that stand for many files."""

from __future__ import annotations

from pathlib import Path

import pytest

from iicnet_cli.media.patterns import files_of_pattern, is_pattern


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with brackets in its name, as of downloaded clips, with numbered files."""
    folder = tmp_path / "Title [abc] 100%"
    folder.mkdir()
    for name in ("f0001.png", "f0010.png", "f12345.png", "f1.png", "f00001.png", "g0001.png"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("f%04d.png", ["f0001.png", "f0010.png", "f12345.png"]),
        ("f%d.png", ["f1.png", "f12345.png"]),
        ("f%05d.png", ["f00001.png", "f12345.png"]),
        ("f000[12].png", ["f0001.png"]),
        ("?0001.png", ["f0001.png", "g0001.png"]),
        ("h%04d.png", []),
    ],
)
def test_files_that_fit(folder: Path, pattern: str, names: list[str]) -> None:
    assert is_pattern(folder / pattern)
    assert files_of_pattern(str(folder / pattern)) == [folder / name for name in names]


def test_what_exists_is_no_pattern(folder: Path) -> None:
    assert not is_pattern(folder) and not is_pattern(folder / "f0001.png")
    assert not is_pattern(folder / "missing.png")
    (folder / "a%04d.png").touch()
    assert not is_pattern(folder / "a%04d.png")
