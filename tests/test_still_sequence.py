"""Folders, patterns and lists of stills as clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.stills import read_still, write_still
from iicnet_cli.media.video_reader import open_frames
from tests.media_samples import noise, smooth


def test_folders_patterns_and_lists_are_clips(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_still(tmp_path / f"f{number}.png", np.full((6, 8, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a still")
    (tmp_path / ".hidden.png").write_text("not a still")
    for source_of in (tmp_path, str(tmp_path / "f*.png"), tmp_path / "f[0-9]*.png"):
        with open_frames(source_of) as source:
            assert [int(frame[0, 0, 0]) for frame in source] == [1, 2, 10]
            assert source.names == ("f1.png", "f2.png", "f10.png")
            assert source.info.frames == 3
    files = [tmp_path / "f10.png", tmp_path / "f1.png"]
    with open_frames(files, frames=1) as source:
        assert [int(frame[0, 0, 0]) for frame in source] == [10]
        assert source.names == ("f10.png",)
    write_still(tmp_path / "f3.png", noise(9, 9))
    with pytest.raises(MediaError, match=r"f3\.png: 9x9.*8x6"):
        open_frames(tmp_path)
    (tmp_path / "empty").mkdir()
    nowhere: list[Path | str | list[Path]] = [tmp_path / "empty", str(tmp_path / "q*.png"), []]
    for nothing in nowhere:
        with pytest.raises(MediaError):
            open_frames(nothing)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_one_still_is_a_clip_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(smooth(6, 8)).save(path)
    with open_frames(path) as source:
        assert np.array_equal(next(source), read_still(path).pixels)
        assert list(source) == []
        assert (source.info.frames, source.names, source.notes) == (1, (path.name,), [])
