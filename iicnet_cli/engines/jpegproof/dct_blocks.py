"""Luma of pictures, and its discrete cosine transform in blocks of 8 x 8 pixels, as JPEG has them.

Luma is that of JFIF (ITU-R BT.601, full range); coefficients are those of the orthonormal
transform, which JPEG divides by its quantization steps and rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

BLOCK = 8
"""Pixels of a block on each axis."""
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in luma."""

Floats = NDArray[np.float32]


def _cosines() -> Floats:
    """The transform of 8 samples: row u has the samples of frequency u."""
    u, x = np.mgrid[:BLOCK, :BLOCK]
    basis = np.cos((2 * x + 1) * u * np.pi / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)


BASIS = _cosines()
"""Row u has the 8 samples of the cosine of vertical or horizontal frequency u."""


def luma_of(pixels: Pixels) -> Floats:
    """(H, W), 0 to 255, of (H, W, 3) or (H, W)."""
    if pixels.ndim == 2:
        return pixels.astype(np.float32)
    red, green, blue = (pixels[..., channel].astype(np.float32) for channel in range(3))
    return np.asarray(red * LUMA_WEIGHTS[0] + green * LUMA_WEIGHTS[1] + blue * LUMA_WEIGHTS[2])


def whole_blocks(plane: NDArray[np.generic]) -> tuple[int, int]:
    """Rows and columns of blocks that a picture (H, W, ...) has in full."""
    return plane.shape[0] // BLOCK, plane.shape[1] // BLOCK


def forward_dct(luma: Floats) -> Floats:
    """(rows, columns, 8, 8) of the whole blocks of (H, W); vertical frequency first."""
    rows, columns = whole_blocks(luma)
    area = luma[: rows * BLOCK, : columns * BLOCK] - np.float32(128)
    vertical = BASIS @ area.reshape(rows, BLOCK, columns * BLOCK)
    both = vertical.reshape(rows, BLOCK, columns, BLOCK) @ BASIS.T
    return np.ascontiguousarray(both.transpose(0, 2, 1, 3))


def inverse_dct(coefficients: Floats) -> Floats:
    """(8 rows, 8 columns) of the *changes* of luma that changed coefficients make."""
    rows, columns = coefficients.shape[:2]
    horizontal = coefficients.transpose(0, 2, 1, 3) @ BASIS
    area = BASIS.T @ horizontal.reshape(rows, BLOCK, columns * BLOCK)
    return area.reshape(rows * BLOCK, columns * BLOCK)
