"""Estimation of the motion field of a clip or stereo pair.

The search starts at the phase correlation of whole pictures, continues with the dense flow of Lucas
and Kanade, averages it over the cells of a coarse grid, and refines the vector of each cell by its
rate-distortion cost. Frames far from the reference frame are searched in their neighbour as well; a
blend weight for each cell then mixes the two predictions (bi-prediction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.motion.field import (
    MAX_BLEND_WEIGHT,
    MAX_VECTOR,
    VECTOR_UNITS_PER_PIXEL,
    MotionField,
)
from iicnet_cli.motion.lifting import neighbour_indices
from iicnet_cli.motion.lucas_kanade import estimate_flow
from iicnet_cli.motion.phase_correlation import (
    MAX_RELATIVE_DIFFERENCE,
    MIN_SIDE,
    phase_correlate,
)
from iicnet_cli.motion.planes import downscale_to_grey
from iicnet_cli.motion.vector_refinement import (
    CellGrid,
    mean_squared_error,
    prediction_error,
    refine_vectors,
)
from iicnet_cli.pictures.arrays import Pixels

MIN_SAMPLES_PER_FIELD_BYTE = 100
"""If the picture has fewer samples than this per byte of its motion field, the grid is coarser."""

_FINEST_OCTAVE_SIDE = 300
"""Motion is estimated on the octave whose shorter side has at most this many pixels."""
_CELL_SIZE = 16
"""Cells have this many pixels a side in pictures of up to twice ``_FINEST_OCTAVE_SIDE`` pixels.

In larger pictures the cells grow with the octave, so that their number stays about the same.
"""
_CELL_SIZE_OF_PAIRS = 8
"""Cells of two pictures are smaller, because only one picture needs vectors."""
_COARSE_CELL_FACTOR = 1.5
"""Cells of the coarser grid are this many times as long and as wide as usual."""
_NEIGHBOUR_PENALTY = 75.0
"""A prediction from the neighbour alone must reduce the squared error by more than this.

The neighbour is restored with errors; they would be repeated in the frame.
"""


class MotionSearch(NamedTuple):
    """Frames, and where to look for their content.

    Attributes:
        frames: (B, 1, H, W) float, 0..255: grey planes of one octave.
        predictors: (B + N, 1, H, W), of the same octave: the reference for each of the B frames,
            then the neighbour for each of the N frames that have one.
        starts: (B + N, 2): shifts into the predictors to start from, in pixels of the pictures.
        has_neighbour: for each frame, whether it has a neighbour other than the reference.
    """

    frames: Tensor
    predictors: Tensor
    starts: Tensor
    has_neighbour: Sequence[bool]


def estimate_motion(images: Pixels) -> MotionField | None:
    """Estimate the motion of every picture but the first.

    Args:
        images: (K, H, W, C) uint8, in the order of :func:`neighbour_indices`.

    Returns:
        The motion field. The vectors into a predictor are zero if warping does not bring it at
        least 15 % nearer to the frame. ``None`` if nothing moves, or if a side of the pictures is
        below :data:`MIN_SIDE`.
    """
    height, width = images.shape[1:3]
    if len(images) < 2 or min(height, width) < MIN_SIDE:
        return None
    octave = choose_octave(height, width)
    searches = _prepare_searches(images, octave)

    def estimate_on_grid(cell_factor: float) -> MotionField:
        grid = choose_grid(len(images), height, width, octave, cell_factor)
        # One frame after the other: a batch is not faster, and takes more memory.
        fields = [estimate_field(search, grid, octave) for search in searches]
        return MotionField(
            np.concatenate([field.vectors for field in fields]),
            np.concatenate([field.blend_weights for field in fields]),
        )

    motion = estimate_on_grid(1)
    if MIN_SAMPLES_PER_FIELD_BYTE * len(motion.to_bytes()) > images[0].size:
        motion = estimate_on_grid(_COARSE_CELL_FACTOR)
    return motion if motion.vectors.any() or motion.blend_weights.any() else None


def choose_octave(height: int, width: int) -> int:
    """Return how often pictures of this size are halved before their motion is estimated."""
    return max(0, math.ceil(math.log2(min(height, width) / _FINEST_OCTAVE_SIDE)))


def choose_grid(
    pictures: int, height: int, width: int, octave: int, cell_factor: float = 1
) -> CellGrid:
    """Choose the cell grid of a motion field.

    Args:
        pictures: number of pictures, the reference included.
        height: height of the area that the grid covers, pixels.
        width: width of that area, pixels.
        octave: :func:`choose_octave` of the whole pictures.
        cell_factor: makes cells this many times as long and as wide as usual.
    """
    usual = _CELL_SIZE_OF_PAIRS if pictures == 2 else _CELL_SIZE
    size = usual * 2 ** max(0, octave - 1) * cell_factor
    return max(1, round(height / size)), max(1, round(width / size))


@torch.inference_mode()
def estimate_field(search: MotionSearch, grid: CellGrid, octave: int) -> MotionField:
    """Estimate the motion field of some frames.

    Args:
        search: the frames, their predictors, and where to start.
        grid: rows and columns of cells.
        octave: octave of the planes.

    Returns:
        The motion field of the B frames.
    """
    count = len(search.frames)
    has_neighbour = torch.tensor(search.has_neighbour)
    targets = torch.cat((search.frames, search.frames[has_neighbour]))
    found = _estimate_vectors(search.predictors, targets, search.starts / 2**octave, grid, octave)

    vectors = np.zeros((count, 2, *grid, 2), np.int16)
    units = (found * (VECTOR_UNITS_PER_PIXEL * 2**octave)).round().movedim(1, 3).numpy()
    vectors[:, 0], vectors[search.has_neighbour, 1] = units[:count], units[count:]

    errors = prediction_error(search.predictors, targets, found)
    blend_weights = np.zeros((count, *grid), np.uint8)
    blend_weights[search.has_neighbour] = _choose_blend_weights(
        errors[:count][has_neighbour], errors[count:], grid
    )
    for predictor, used in enumerate((blend_weights < MAX_BLEND_WEIGHT, blend_weights > 0)):
        vectors[:, predictor] = _simplify_unused(vectors[:, predictor], used)
    return MotionField(vectors, blend_weights)


def _prepare_searches(images: Pixels, octave: int) -> list[MotionSearch]:
    """Prepare one search for each picture but the first, from the shifts of whole pictures."""
    planes = [downscale_to_grey(image[None], octave) for image in images]
    searches = []
    pairs = zip(neighbour_indices(len(images)), phase_correlate(images), strict=True)
    for k, (neighbour, shift) in enumerate(pairs, 1):
        predictors, starts = [planes[0]], [shift]
        if neighbour:
            predictors.append(planes[neighbour])
            starts += phase_correlate(images[[neighbour, k]])
        searches.append(
            MotionSearch(
                planes[k], torch.cat(predictors), torch.tensor(starts).float(), [neighbour > 0]
            )
        )
    return searches


def _estimate_vectors(
    predictors: Tensor, frames: Tensor, starts: Tensor, grid: CellGrid, octave: int
) -> Tensor:
    """Return (B, 2, rows, columns) vectors in pixels of the planes.

    They are zero where they do not bring the predictor 15 % nearer to the frame.
    """
    flow = F.adaptive_avg_pool2d(estimate_flow(predictors, frames, starts), grid)

    def mean_error(vectors: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(prediction_error(predictors, frames, vectors).abs(), grid)

    best = torch.zeros_like(flow)
    unmoved = least = mean_error(best)
    for vectors in (starts[:, :, None, None].expand_as(flow), flow):
        errors = mean_error(vectors)
        best = torch.where(errors < least, vectors, best)
        least = torch.minimum(errors, least)
    best = refine_vectors(predictors, frames, best, VECTOR_UNITS_PER_PIXEL * 2**octave)
    # Each vector was chosen by itself, but interpolation mixes it with those around it.
    useful = mean_error(best).mean((1, 2, 3)) < MAX_RELATIVE_DIFFERENCE * unmoved.mean((1, 2, 3))
    useful &= (best * 2**octave).abs().amax((1, 2, 3)) < MAX_VECTOR
    return torch.where(useful[:, None, None, None], best, 0)


def _choose_blend_weights(
    reference_errors: Tensor, neighbour_errors: Tensor, grid: CellGrid
) -> NDArray[np.uint8]:
    """Choose the weight with the lowest cost for each cell.

    Args:
        reference_errors: (N, 1, H, W), errors of the prediction from the reference.
        neighbour_errors: (N, 1, H, W), errors of the prediction from the neighbour.
        grid: rows and columns of cells.

    Returns:
        (N, rows, columns), 0 to :data:`MAX_BLEND_WEIGHT`.
    """
    weights = range(MAX_BLEND_WEIGHT + 1)
    costs = [
        mean_squared_error(
            torch.lerp(reference_errors, neighbour_errors, weight / MAX_BLEND_WEIGHT), grid
        )
        for weight in weights
    ]
    penalties = torch.arange(len(weights))[:, None, None] * (_NEIGHBOUR_PENALTY / MAX_BLEND_WEIGHT)
    chosen: NDArray[np.uint8] = (torch.cat(costs, dim=1) + penalties).argmin(1).numpy()
    return chosen


def _simplify_unused(vectors: NDArray[np.int16], used: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Replace vectors that no pixel is interpolated from by the nearest used one to their left.

    The differences between such vectors are zero, which takes few bytes.

    Args:
        vectors: (B, rows, columns, 2).
        used: (B, rows, columns), whether a cell uses this predictor.
    """
    rows, columns = used.shape[1:]
    padded = np.pad(used, ((0, 0), (1, 1), (1, 1)))
    interpolated = np.any(
        [padded[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0
    )
    source = np.maximum.accumulate(np.where(interpolated, np.arange(columns), -1), axis=2)
    copied = np.take_along_axis(vectors, source.clip(0)[..., None], axis=2)
    simplified: NDArray[np.int16] = np.where(source[..., None] < 0, np.int16(0), copied)
    return simplified
