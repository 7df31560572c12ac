"""Sampling of pictures along motion vectors, bilinear in space and in the vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.motion.field import VECTOR_UNITS_PER_PIXEL
from iicnet_cli.pictures.arrays import Pixels

_STRIP_ROWS = 256
"""Pictures are warped in strips of this many rows, to bound the memory."""


@torch.inference_mode()
def warp(picture: Pixels, vectors: NDArray[np.int16]) -> Pixels:
    """Sample a picture where the vectors of a cell grid point.

    Args:
        picture: (H, W, C) uint8.
        vectors: (rows, columns, 2) as in :class:`MotionField`, interpolated between cells.

    Returns:
        (H, W, C) uint8; beyond the border of the picture, its border. The picture itself if all
        vectors are zero.
    """
    if not vectors.any():
        return picture
    height, width = picture.shape[:2]
    out = np.empty_like(picture)
    cells = torch.from_numpy(vectors.astype(np.float32) / VECTOR_UNITS_PER_PIXEL).movedim(2, 0)
    x = torch.arange(width).float()
    for rows in row_strips(height):
        flow = interpolate_cells(cells[None], rows, height, width)
        y = torch.arange(rows.start, rows.stop).float()[:, None]
        source_y, source_x = y + flow[:, 0], x + flow[:, 1]
        # Only the rows that this strip needs are converted to float.
        first = max(0, math.floor(source_y.min().item()))
        last = min(height, math.floor(source_y.max().item()) + 2)
        first, last = min(first, height - 1), max(last, 1)
        part = torch.from_numpy(picture[first:last].astype(np.float32)).movedim(2, 0)[None]
        strip = _sample_pixels(part, source_y - first, source_x)
        out[rows] = strip[0].round().movedim(0, 2).numpy()
    return out


def row_strips(height: int) -> Iterator[slice]:
    """Yield the rows of a picture in strips small enough to be processed as floats."""
    for top in range(0, height, _STRIP_ROWS):
        yield slice(top, min(top + _STRIP_ROWS, height))


def interpolate_cells(cells: Tensor, rows: slice, height: int, width: int) -> Tensor:
    """Interpolate values of a cell grid at the pixels of some rows.

    Args:
        cells: (1, C, grid rows, grid columns), values at the centres of the cells.
        rows: rows of the picture.
        height: height of the picture, pixels.
        width: width of the picture, pixels.

    Returns:
        (1, C, number of rows, width); beyond the outer centres, the values there.
    """
    y = torch.arange(rows.start, rows.stop).float()[:, None]
    x = torch.arange(width).float()
    cell_y = ((y + 0.5) * cells.shape[2] / height - 0.5).expand(1, -1, width)
    cell_x = ((x + 0.5) * cells.shape[3] / width - 0.5).expand(1, len(y), -1)
    return _sample_pixels(cells, cell_y, cell_x)


def displace(planes: Tensor, flow: Tensor) -> Tensor:
    """Sample planes at each pixel plus its flow.

    Args:
        planes: (B or 1, C, H, W).
        flow: (B, 2, H, W), pixels, as (down, right).

    Returns:
        (B, C, H, W); beyond the border of the planes, their border.
    """
    batch, _, height, width = flow.shape
    # grid_sample wants (x, y) coordinates that run from -1 to 1 between the borders.
    coordinates = flow.new_empty(batch, height, width, 2)
    for axis, length in ((0, height), (1, width)):
        centres = (2 * torch.arange(length, dtype=flow.dtype) + 1) / length - 1
        own = centres[:, None] if axis == 0 else centres
        torch.add(own, flow[:, axis], alpha=2 / length, out=coordinates[..., 1 - axis])
    return _sample(planes.expand(batch, -1, -1, -1), coordinates)


def _sample_pixels(planes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Sample (B, C, H, W) at (B, h, w) positions, in pixels from the centre of the first pixel."""
    height, width = planes.shape[-2:]
    return _sample(planes, torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1))


def _sample(planes: Tensor, coordinates: Tensor) -> Tensor:
    sampled: Tensor = F.grid_sample(planes, coordinates, "bilinear", "border", align_corners=False)
    return sampled
