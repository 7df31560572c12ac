"""Motion compensation of crops."""

from __future__ import annotations

import numpy as np

from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.training.crop_motion import subtract_crop_prediction
from tests.samples import natural


def test_a_crop_of_the_whole_frames_is_compensated_as_before_embedding() -> None:
    scene = natural(110, 140, 2)
    frames = np.stack([scene[t : t + 90, 5 * t : 5 * t + 90] for t in (1, 0, 2)])
    found = subtract_crop_prediction(frames, 0, 0, 90).astype(int)
    expected = subtract_prediction(frames, estimate_motion(frames)).astype(int)
    assert np.abs(found - expected).mean() < 0.5
    assert np.abs(found - frames).mean() > 1


def test_frames_that_are_too_small_are_cut_as_they_are() -> None:
    frames = np.stack([natural(60, 80, i) for i in range(3)])
    found = subtract_crop_prediction(frames, 7, 9, 32)
    assert np.array_equal(found, frames[:, 7:39, 9:41])
