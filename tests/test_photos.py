"""Names of restored photos."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.helpers import Run
from tests.samples import natural


def test_same_names_do_not_overwrite_each_other(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "cover.png"
    other.parent.mkdir()
    Image.fromarray(natural(64, 96, 5)).save(other)
    run("embed", photos[0], other, "-o", tmp_path / "out.png")
    run("restore", tmp_path / "out.png", "-o", tmp_path / "back")
    names = sorted(p.name for p in (tmp_path / "back").iterdir())
    assert names == ["cover-2.png", "cover.png"]
