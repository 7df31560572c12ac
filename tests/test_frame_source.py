"""The iterator that every kind of clip gives."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from iicnet_cli.errors import MediaError
from iicnet_cli.media.frame_source import FrameSource, TimedFrames, VideoInfo
from iicnet_cli.pictures.arrays import Pixels

INFO = VideoInfo(
    width=1,
    height=1,
    fps=Fraction(10),
    frames=3,
    duration=0.3,
    rotation=0,
    has_audio=False,
    hdr=False,
    variable_rate=False,
    codec="test",
    notes=(),
)


def timed(times: list[float], ended: list[bool]) -> TimedFrames:
    try:
        for index, time in enumerate(times):
            yield time, np.full((4, 6, 3), index, np.uint8)
    finally:
        ended.append(True)


def test_times_count_from_the_first_frame_and_the_size_is_that_of_the_frames() -> None:
    with FrameSource(INFO, timed([1.0, 1.5, 3.0], []), ["noted"], ("a", "b", "c")) as source:
        assert (source.info.width, source.info.height, source.info.codec) == (6, 4, "test")
        assert source.timestamps == []
        frames: Iterator[Pixels] = iter(source)
        assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2]
        assert source.timestamps == [0.0, 0.5, 2.0]
        assert (source.notes, source.names) == (["noted"], ("a", "b", "c"))


def test_closing_ends_the_reading() -> None:
    ended: list[bool] = []
    source = FrameSource(INFO, timed([0.0, 1.0], ended), [])
    source.close()
    assert ended == [True]
    with pytest.raises(StopIteration):
        next(source)


def test_a_clip_without_frames_is_an_error() -> None:
    with pytest.raises(MediaError, match="no frame in this part"):
        FrameSource(INFO, timed([], []), [])
