"""Motion compensation of one crop, without that of the whole frames around it."""

from __future__ import annotations

import numpy as np
import torch

from iicnet_cli.motion.estimation import (
    MotionSearch,
    choose_grid,
    choose_octave,
    estimate_field,
)
from iicnet_cli.motion.lifting import neighbour_indices, predict_frame, predict_step
from iicnet_cli.motion.phase_correlation import MIN_SIDE, phase_correlate
from iicnet_cli.motion.planes import downscale_to_grey
from iicnet_cli.pictures.arrays import PixelArray, Pixels

_MARGIN = 24
"""Motion is searched in a window that reaches this many pixels beyond the crop on each side."""


def subtract_crop_prediction(frames: Pixels, y: int, x: int, crop: int) -> PixelArray:
    """Cut a crop from frames and subtract from each frame what the others predict of it.

    The result is about the crop of what ``embed`` gives to the network. Motion of the whole frames
    is found in them by phase correlation; the rest is searched around the crop only, which is
    enough and much faster.

    Args:
        frames: (K, H, W, 3), the reference first. Frames that are too small for motion estimation
            are cut as they are.
        y: first row of the crop.
        x: first column of the crop.
        crop: height and width of the crop, in pixels.

    Returns:
        (K, crop, crop, 3).
    """
    height, width = frames.shape[1:3]
    if min(height, width) < MIN_SIDE:
        return frames[:, y : y + crop, x : x + crop]
    top, left = max(0, y - _MARGIN), max(0, x - _MARGIN)
    bottom, right = min(height, y + crop + _MARGIN), min(width, x + crop + _MARGIN)
    window = frames[:, top:bottom, left:right]
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    shifts = [(0, 0), *phase_correlate(frames)]

    def shifted_window(source: int, frame: int) -> Pixels:
        """The window of frame ``source``, moved to where the content of ``frame`` is in it."""
        dy, dx = np.subtract(shifts[frame], shifts[source])
        positions = np.ix_((rows + dy).clip(0, height - 1), (columns + dx).clip(0, width - 1))
        return frames[source][positions]

    neighbours = neighbour_indices(len(frames))
    references = np.stack([shifted_window(0, k) for k in range(1, len(frames))])
    others = np.stack([shifted_window(source, k) for k, source in enumerate(neighbours, 1)])
    has_neighbour = [source > 0 for source in neighbours]
    predictors = np.concatenate([references, others[has_neighbour]])
    octave = choose_octave(height, width)
    search = MotionSearch(
        frames=downscale_to_grey(window[1:], octave),
        predictors=downscale_to_grey(predictors, octave),
        starts=torch.zeros(len(predictors), 2),
        has_neighbour=has_neighbour,
    )
    grid = choose_grid(len(frames), bottom - top, right - left, octave)
    motion = estimate_field(search, grid, octave)
    predictions = map(predict_frame, references, others, motion.vectors, motion.blend_weights)
    residual = predict_step(window, predictions)
    return residual[:, y - top :, x - left :][:, :crop, :crop]
