"""Motion compensation as a lifting step (Secker and Taubman, 2001).

With the reference frame r, a frame h and its motion-compensated prediction P, the network gets
h - P + r. Where the prediction is right this is r itself, and nothing has to be hidden. After
restoring, h = x - r + P, whatever P is: only the predict step of a lifting scheme is used, without
an update step, and it is undone exactly as far as r and P come back.

P is warped from the reference or, where a frame shows what the reference does not, from its
neighbour: the adjacent frame on the side of the reference. It can also be the mean of both
(bi-prediction). Frames are restored from the reference outwards, so that each neighbour is there
before it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from iicnet_cli.motion.field import MAX_BLEND_WEIGHT, MotionField
from iicnet_cli.motion.warping import interpolate_cells, row_strips, warp
from iicnet_cli.pictures.arrays import PixelArray, Pixels


def neighbour_indices(frames: int) -> list[int]:
    """Return the index of the neighbour of every frame but the reference.

    Frames are ordered with the reference, the middle one in time, first and the others in time.

    Args:
        frames: K, the number of frames.

    Returns:
        K - 1 indices, 0 to K - 1; 0 if the neighbour is the reference itself.
    """
    middle = frames // 2
    return [k + 1 if k < middle else k - 1 if k > middle + 1 else 0 for k in range(1, frames)]


def subtract_prediction(images: Pixels, motion: MotionField | None) -> PixelArray:
    """Replace each picture but the first, h, by h - P + r.

    Args:
        images: (K, H, W, C) uint8, in the order of :func:`neighbour_indices`.
        motion: motion field of the pictures, or ``None`` for no motion.

    Returns:
        (K, H, W, C) int16, -255 to 510, the first picture unchanged; ``images`` without motion.
    """
    if motion is None:
        return images
    predictions = (
        predict_frame(images[0], images[neighbour], vectors, blend_weights)
        for neighbour, vectors, blend_weights in zip(
            neighbour_indices(len(images)), motion.vectors, motion.blend_weights, strict=True
        )
    )
    return predict_step(images, predictions)


def predict_step(images: Pixels, predictions: Iterable[Pixels]) -> NDArray[np.int16]:
    """Apply the lifting step h - P + r to every picture but the first.

    Args:
        images: (K, H, W, C) uint8, the reference first.
        predictions: K - 1 pictures (H, W, C) uint8.

    Returns:
        (K, H, W, C), -255 to 510.
    """
    out = images.astype(np.int16)
    for frame, prediction in zip(out[1:], predictions, strict=True):
        frame -= prediction
        frame += images[0]
    return out


def add_prediction(restored: PixelArray, motion: MotionField | None) -> Pixels:
    """Undo :func:`subtract_prediction`, exactly as far as the pictures came back.

    Args:
        restored: (K, H, W, C) uint8 or int16.
        motion: motion field of the pictures, or ``None`` for no motion.

    Returns:
        (K, H, W, C), clipped to 0..255.
    """
    reference = restored[0].clip(0, 255).astype(np.uint8)
    out = np.empty(restored.shape, np.uint8)
    out[0] = reference
    if motion is None:
        out[1:] = restored[1:].clip(0, 255)
        return out
    neighbours = neighbour_indices(len(restored))
    for k in _outwards(len(restored)):
        prediction = predict_frame(
            reference, out[neighbours[k - 1]], motion.vectors[k - 1], motion.blend_weights[k - 1]
        )
        out[k] = (restored[k] - reference + prediction).clip(0, 255)
    return out


def _outwards(frames: int) -> list[int]:
    """Return the indices of all frames but the reference, by their distance from it in time."""
    return sorted(range(1, frames), key=lambda k: abs(k - frames // 2 - 0.5))


def predict_frame(
    reference: Pixels,
    neighbour: Pixels,
    vectors: NDArray[np.int16],
    blend_weights: NDArray[np.uint8],
) -> Pixels:
    """Predict a frame from the reference and its neighbour (bi-prediction).

    Args:
        reference: (H, W, C) uint8.
        neighbour: (H, W, C) uint8.
        vectors: (2, rows, columns, 2), see :class:`MotionField`.
        blend_weights: (rows, columns), see :class:`MotionField`.

    Returns:
        (H, W, C) uint8.
    """
    picture = warp(reference, vectors[0])
    if not blend_weights.any():
        return picture
    other = warp(neighbour, vectors[1])
    height, width = picture.shape[:2]
    out = np.empty_like(picture)
    cells = torch.from_numpy(blend_weights.astype(np.float32) / MAX_BLEND_WEIGHT)[None, None]
    for rows in row_strips(height):
        weights = interpolate_cells(cells, rows, height, width)[0].movedim(0, 2)
        first, second = (torch.from_numpy(x[rows]).float() for x in (picture, other))
        out[rows] = torch.lerp(first, second, weights).round().numpy()
    return out
