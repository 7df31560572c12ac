"""Rate-distortion refinement: vectors whose prediction is worth the bits that they take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.jit import compiled, compiled_fast
from iicnet_cli.motion.planes import box_mean
from iicnet_cli.motion.warping import displace

CellGrid = tuple[int, int]
"""Rows and columns of the cells of a motion field."""

_SEARCH_STEPS = (2.0, 1.0, 0.5)
"""Vectors are moved by these distances in turn, in pixels of the plane."""
_LAGRANGE_MULTIPLIER = 1.0
"""One bit of a vector costs as much as this squared error, the mean over 3 x 3 cells."""
_PROPOSALS = 13
"""So many vectors are tried for each cell at each step."""

Plane = NDArray[np.float32]


def refine_vectors(
    predictors: Tensor, frames: Tensor, vectors: Tensor, units_per_pixel: int
) -> Tensor:
    """Replace each vector where another one has a lower rate-distortion cost.

    The cost of a cell is the squared prediction error, averaged over 3 x 3 cells, plus a Lagrange
    multiplier times the bits of the vector.

    Args:
        predictors: (B, 1, H, W), 0..255.
        frames: (B, 1, H, W), 0..255.
        vectors: (B, 2, rows, columns), pixels of the planes.
        units_per_pixel: units in which vectors are stored, per pixel of the planes.

    Returns:
        (B, 2, rows, columns), pixels of the planes, multiples of 1 / ``units_per_pixel``.
    """
    vectors = (units_per_pixel * vectors).round() / units_per_pixel
    flows = interpolate_vectors(vectors, frames)
    steps = np.array(_SEARCH_STEPS, np.float32)
    refined = []
    for predictor, frame, flow, start in zip(predictors, frames, flows, vectors, strict=True):
        height, width = frame.shape[-2:]
        planes = _Planes(predictor[0].numpy(), frame[0].numpy(), flow.contiguous().numpy())
        influence = _influence(start.shape[1], height), _influence(start.shape[2], width)
        found = start.numpy().copy()
        _refine(planes, *influence, found, steps, np.float32(units_per_pixel))
        refined.append(torch.from_numpy(found))
    return torch.stack(refined)


def prediction_error(predictors: Tensor, frames: Tensor, vectors: Tensor) -> Tensor:
    """Return frames minus predictors, warped along (B, 2, rows, columns) vectors; (B, 1, H, W)."""
    return frames - displace(predictors, interpolate_vectors(vectors, frames))


def interpolate_vectors(vectors: Tensor, frames: Tensor) -> Tensor:
    """Interpolate (B, 2, rows, columns) vectors at the pixels of frames: (B, 2, H, W)."""
    return F.interpolate(vectors, size=frames.shape[-2:], mode="bilinear")


def mean_squared_error(errors: Tensor, grid: CellGrid) -> Tensor:
    """Average the squares of (B, 1, H, W) over each cell and those around it.

    Returns:
        (B, 1, rows, columns).
    """
    return box_mean(F.adaptive_avg_pool2d(errors.square(), grid), 3)


class _Planes(NamedTuple):
    """A frame, what predicts it, and the flow, (2, H, W), that the vectors give."""

    predictor: Plane
    frame: Plane
    flow: Plane


class _Influence(NamedTuple):
    """Where a cell weighs in the bilinear interpolation between cells, along one axis.

    Attributes:
        weights: (cells, pixels), 0 to 1.
        starts: (cells,), the first pixel with a weight.
        stops: (cells,), the pixel behind the last one.
    """

    weights: Plane
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def _influence(cells: int, pixels: int) -> _Influence:
    identity = torch.eye(cells)[None]
    weights = F.interpolate(identity, size=pixels, mode="linear")[0].numpy()
    starts = (weights > 0).argmax(axis=1)
    return _Influence(weights, starts, starts + np.count_nonzero(weights, axis=1))


@compiled
def _refine(
    planes: _Planes,
    down: _Influence,
    right: _Influence,
    vectors: Plane,
    steps: Plane,
    units: np.float32,
) -> None:
    """Try other vectors for one cell after the other; each changes the flow for the next cells.

    Args:
        planes: the flow is kept up to date.
        down: of the rows of cells.
        right: of the columns of cells.
        vectors: (2, rows, columns), pixels, in and out.
        steps: see ``_SEARCH_STEPS``.
        units: units of vectors per pixel.
    """
    height, width = planes.frame.shape
    _, rows, columns = vectors.shape
    for step in steps:
        # Every second row is enough for all but the last, finest search.
        row_step = 1 if step == steps[-1] else 2
        for i in range(rows):
            for j in range(columns):
                cells = (min(i + 2, rows) - max(i - 1, 0)) * (min(j + 2, columns) - max(j - 1, 0))
                # Of the sum of squared errors for each bit.
                area = cells * height * width / (rows * columns)
                price = np.float32(_LAGRANGE_MULTIPLIER * area / row_step)
                y, x = vectors[0, i, j], vectors[1, i, j]
                zero = np.float32(0)
                least = _squared_error(
                    planes, down, right, (i, j), (zero, zero), row_step, np.float32(np.inf)
                )
                least += price * _count_bits(vectors, i, j, y, x, units)
                for k in range(_PROPOSALS):
                    new_y, new_x = _propose(vectors, i, j, k, step, units)
                    if new_y == y and new_x == x:
                        continue
                    rate = price * _count_bits(vectors, i, j, new_y, new_x, units)
                    change = new_y - y, new_x - x
                    cost = rate + _squared_error(
                        planes, down, right, (i, j), change, row_step, least - rate
                    )
                    if cost < least:
                        least = cost
                        _change_flow(planes.flow, down, right, (i, j), change)
                        y, x = new_y, new_x
                        vectors[0, i, j], vectors[1, i, j] = y, x


@compiled_fast
def _squared_error(
    planes: _Planes,
    down: _Influence,
    right: _Influence,
    cell: tuple[int, int],
    change: tuple[np.float32, np.float32],
    row_step: int,
    limit: np.float32,
) -> np.float32:
    """The sum of squared errors around a cell, of some rows, after a change of its vector.

    It may end early when it exceeds the limit.
    """
    predictor, frame, flow = planes
    i, j = cell
    height, width = frame.shape
    lowest, rightmost = np.float32(height - 1), np.float32(width - 1)
    total = np.float32(0)
    for y in range(down.starts[i], down.stops[i], row_step):
        if total > limit:
            break
        change_y, change_x = down.weights[i, y] * change[0], down.weights[i, y] * change[1]
        for x in range(right.starts[j], right.stops[j]):
            weight = right.weights[j, x]
            source_y = np.float32(y) + flow[0, y, x] + weight * change_y
            source_x = np.float32(x) + flow[1, y, x] + weight * change_x
            source_y = min(max(source_y, np.float32(0)), lowest)
            source_x = min(max(source_x, np.float32(0)), rightmost)
            top, left = np.int32(source_y), np.int32(source_x)
            bottom, next_x = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = source_y - np.float32(top), source_x - np.float32(left)
            upper = predictor[top, left] + dx * (predictor[top, next_x] - predictor[top, left])
            lower = predictor[bottom, left] + dx * (
                predictor[bottom, next_x] - predictor[bottom, left]
            )
            error = frame[y, x] - upper - dy * (lower - upper)
            total += error * error
    return total


@compiled_fast
def _change_flow(
    flow: Plane,
    down: _Influence,
    right: _Influence,
    cell: tuple[int, int],
    change: tuple[np.float32, np.float32],
) -> None:
    """Add to the flow what a change of the vector of a cell makes."""
    i, j = cell
    for y in range(down.starts[i], down.stops[i]):
        for x in range(right.starts[j], right.stops[j]):
            weight = down.weights[i, y] * right.weights[j, x]
            flow[0, y, x] += weight * change[0]
            flow[1, y, x] += weight * change[1]


@compiled
def _propose(
    vectors: Plane, i: int, j: int, k: int, step: np.float32, units: np.float32
) -> tuple[np.float32, np.float32]:
    """The k-th of ``_PROPOSALS`` vectors to try for a cell.

    They are the mean of 3 x 3 cells, the own vector moved by a step, that of an adjacent cell, and
    one component of a cell beside it.
    """
    _, rows, columns = vectors.shape
    y, x = vectors[0, i, j], vectors[1, i, j]
    if k == 0:
        sum_y = sum_x = count = np.float32(0)
        for row in range(max(0, i - 1), min(rows, i + 2)):
            for column in range(max(0, j - 1), min(columns, j + 2)):
                sum_y += vectors[0, row, column]
                sum_x += vectors[1, row, column]
                count += np.float32(1)
        return np.rint(units * sum_y / count) / units, np.rint(units * sum_x / count) / units
    side = (k - 1) % 4
    down = -1 if side == 2 else 1 if side == 3 else 0
    right = -1 if side == 0 else 1 if side == 1 else 0
    if k <= 4:
        return y + step * np.float32(down), x + step * np.float32(right)
    if not (0 <= i + down < rows and 0 <= j + right < columns):
        return y, x
    other_y, other_x = vectors[0, i + down, j + right], vectors[1, i + down, j + right]
    if k <= 8:
        return other_y, other_x
    if k <= 10:
        return other_y, x
    return y, other_x


@compiled
def _count_bits(
    vectors: Plane, i: int, j: int, y: np.float32, x: np.float32, units: np.float32
) -> np.float32:
    """Estimate the bits of the vector of a cell, and of that to its right, coded from it."""
    left_y = left_x = np.float32(0)
    if j > 0:
        left_y, left_x = vectors[0, i, j - 1], vectors[1, i, j - 1]
    one = np.float32(1)
    bits = np.log2(one + units * abs(y - left_y)) + np.log2(one + units * abs(x - left_x))
    if j + 1 < vectors.shape[2]:
        right_y, right_x = vectors[0, i, j + 1], vectors[1, i, j + 1]
        bits += np.log2(one + units * abs(right_y - y)) + np.log2(one + units * abs(right_x - x))
    return np.float32(2 * bits)
