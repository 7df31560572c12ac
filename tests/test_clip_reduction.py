"""Smaller and slower versions of clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from iicnet_cli.contents.clip_reduction import ReducedSource, Reduction, likely_reductions
from iicnet_cli.media.stills import resize
from iicnet_cli.options import EmbedOptions
from iicnet_cli.tasks import task_named
from iicnet_cli.tasks.task import PictureSource
from tests.helpers import write_clip
from tests.samples import moving

FRAMES = moving(7, 48, 64)


@pytest.fixture
def source(tmp_path: Path) -> PictureSource:
    clip = write_clip(tmp_path / "pan.mkv", FRAMES)
    return task_named("video").open([clip], 1, EmbedOptions())


def test_the_less_room_the_smaller_and_the_slower(source: PictureSource) -> None:
    assert likely_reductions(source, 7, 10**6) == [Reduction(1.0, 1)]
    found = [likely_reductions(source, 7, room) for room in (160, 80, 30, 5, 1)]
    for larger, *smaller in found:
        assert all(each.share < larger.share for each in smaller)
    shares = [reductions[0].share for reductions in found]
    assert shares == sorted(shares, reverse=True)
    assert found[-1][-1].share == 0.25
    assert found[-1][-1].step > 1
    assert source.fps is not None
    assert source.fps / found[-1][-1].step >= 5


def test_frames_are_left_out_and_made_smaller(source: PictureSource) -> None:
    reduced = ReducedSource(source, Reduction(0.5, 3))
    assert (reduced.width, reduced.height) == (32, 24)
    assert source.fps is not None
    assert reduced.fps == source.fps / 3
    groups = reduced.groups()
    found = list(groups)
    assert groups.description.frames == 3
    assert groups.description.fps == reduced.fps
    for group, original in zip(found, FRAMES[::3], strict=True):
        assert (group.images[0] == resize(original, 32, 24)).all()
        assert (group.pictures[0] == original).all()
    assert reduced.lost_mse() > 0
    assert ReducedSource(source, Reduction(1.0, 1)).lost_mse() == 0
    assert "32x24" in reduced.note()
    assert isinstance(reduced.fps, Fraction)
