"""Frames of a part of a clip on disk."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.media.frame_spool import FrameSpool
from tests.samples import moving


def test_frames_are_read_as_often_as_needed() -> None:
    frames = moving(4, 20, 24)
    with FrameSpool() as spool:
        for frame in frames:
            spool.add(frame)
        assert len(spool) == 4
        assert (spool[2] == frames[2]).all()
        for _ in range(2):
            assert (np.stack(list(spool)) == frames).all()
        with pytest.raises(IndexError):
            spool[4]
