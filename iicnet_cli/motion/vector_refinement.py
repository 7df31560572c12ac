"""Rate-distortion refinement: vectors whose prediction is worth the bits that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.motion.planes import box_mean
from iicnet_cli.motion.warping import displace

CellGrid = tuple[int, int]
"""Rows and columns of the cells of a motion field."""

_SEARCH_STEPS = (2.0, 1.0, 0.5)
"""Vectors are moved by these distances in turn, in pixels of the plane."""
_LAGRANGE_MULTIPLIER = 1.0
"""One bit of a vector costs as much as this squared error, the mean over 3 x 3 cells."""

_Proposal = Callable[[Tensor], Tensor]
"""A function from all vectors, (B, 2, rows, columns), to another vector for each cell."""


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
    grid = (vectors.shape[2], vectors.shape[3])

    def quantize(field: Tensor) -> Tensor:
        return (units_per_pixel * field).round() / units_per_pixel

    def cost(field: Tensor) -> Tensor:
        distortion = mean_squared_error(prediction_error(predictors, frames, field), grid)
        return distortion + _LAGRANGE_MULTIPLIER * _estimate_bits(units_per_pixel * field)

    vectors = quantize(vectors)
    for step in _SEARCH_STEPS:
        proposals = [
            lambda field: quantize(box_mean(field, window=3)),
            *_list_proposals(step),
        ]
        for selected in _independent_cells(grid):
            least = cost(vectors)
            for propose in proposals:
                candidates = torch.where(selected, propose(vectors), vectors)
                costs = cost(candidates)
                better = selected & (costs < least)
                vectors = torch.where(better, candidates, vectors)
                least = torch.where(better, costs, least)
    return vectors


def prediction_error(predictors: Tensor, frames: Tensor, vectors: Tensor) -> Tensor:
    """Return frames minus predictors, warped along (B, 2, rows, columns) vectors; (B, 1, H, W)."""
    flow = F.interpolate(vectors, size=frames.shape[-2:], mode="bilinear")
    return frames - displace(predictors, flow)


def mean_squared_error(errors: Tensor, grid: CellGrid) -> Tensor:
    """Average the squares of (B, 1, H, W) over each cell and those around it.

    Returns:
        (B, 1, rows, columns).
    """
    return box_mean(F.adaptive_avg_pool2d(errors.square(), grid), 3)


def _list_proposals(step: float) -> list[_Proposal]:
    """List vectors to try: those of the adjacent cells, and the own vector moved by a step."""
    proposals: list[_Proposal] = []
    for side in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        offset = step * torch.tensor(side).float()[:, None, None]
        adjacent = partial(torch.roll, shifts=side, dims=(2, 3))
        proposals += [adjacent, partial(torch.add, offset)]
        if side[1]:
            proposals += [partial(_replace_component, adjacent, axis) for axis in (0, 1)]
    return proposals


def _replace_component(propose: _Proposal, axis: int, vectors: Tensor) -> Tensor:
    """Take only one component of the proposed vectors."""
    mixed = vectors.clone()
    mixed[:, axis] = propose(vectors)[:, axis]
    return mixed


def _independent_cells(grid: CellGrid) -> Iterator[Tensor]:
    """Yield four masks (rows, columns) without adjacent cells, which together are the grid.

    A vector changes the interpolated field up to the adjacent cells and is judged there. So no two
    adjacent vectors may change together.
    """
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        selected = torch.zeros(grid, dtype=torch.bool)
        selected[y::2, x::2] = True
        yield selected


def _estimate_bits(vectors: Tensor) -> Tensor:
    """Estimate the bits of each vector and of the vector to its right, which is coded from it.

    Args:
        vectors: (B, 2, rows, columns), whole units.

    Returns:
        (B, 1, rows, columns).
    """
    differences = torch.diff(vectors, dim=3, prepend=torch.zeros_like(vectors[..., :1]))
    bits = (1 + differences.abs()).log2().mul(2).sum(1, keepdim=True)
    return bits + F.pad(bits[..., 1:], (0, 1))
