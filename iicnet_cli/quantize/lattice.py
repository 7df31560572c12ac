"""What rounding is about: exact values, levels near them, and errors that are fed back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

NoiseShapingFilter = NDArray[np.float32]
"""(5, C, C), for each of ``NEIGHBOURS``: the share of the error (rounded minus exact) of one
channel there that is added to another channel here."""

NEIGHBOURS = ((0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Of each of the five the row and column: itself, left, above to the left, above, to the right."""
_UNITS = 256
"""Of a remainder, to a level."""
STEPS = np.float32(2) ** np.arange(9, dtype=np.float32)
"""Between levels with the same low bits, by how many these are."""
HALVES = np.where(np.arange(9) < 8, STEPS / 2, 0).astype(np.float32)
"""Of these steps: errors of rounding, at most. A level that is told as a whole has none."""
_ROWS = 256
"""At once, to save memory."""


def exact(levels: Pixels, remainder: NDArray[np.int8]) -> NDArray[np.float32]:
    """The values, in levels, that were rounded to these and left that."""
    values = remainder.astype(np.float32)
    values /= _UNITS
    values += levels
    return values


def unrounded_mse(levels: Pixels, remainder: NDArray[np.int8], wanted: Pixels) -> float:
    """Mean squared error of these values, in squared levels, against levels of the same shape."""
    total = 0.0
    for top in range(0, len(levels), _ROWS):
        rows = slice(top, top + _ROWS)
        difference = exact(levels[rows], remainder[rows])
        difference -= wanted[rows]
        total += float(np.sum(np.square(difference, out=difference), dtype=np.float64))
    return total / levels.size


def nearest(values: NDArray[np.float32], depths: Pixels, residues: Pixels) -> NDArray[np.float32]:
    """Of the levels with these low bits."""
    step, low = STEPS[depths], residues.astype(np.float32)
    levels = np.floor((values - low) / step + np.float32(0.5)) * step + low
    clipped: NDArray[np.float32] = np.clip(levels, low, 256 - step + low, out=levels)
    return clipped


@dataclass(frozen=True)
class UnroundedEmbedding:
    """An embedding before its final rounding: exact values, kept as 8-bit values and residuals.

    Attributes:
        pixels: (H, W, C) uint8, the values rounded to the nearest.
        residual: (H, W, C) int8, what rounding took from each value, in 1/256 of a step.
    """

    pixels: Pixels
    residual: NDArray[np.int8]

    def values(self) -> NDArray[np.float32]:
        """The exact values, 0..255."""
        return exact(self.pixels, self.residual)

    def mse(self, wanted: Pixels) -> float:
        """Mean squared error of the exact values beside 8-bit pictures of the same shape."""
        return unrounded_mse(self.pixels, self.residual, wanted)

    def __getitem__(self, area: slice | tuple[slice, ...]) -> UnroundedEmbedding:
        """A part of it, as views."""
        return UnroundedEmbedding(self.pixels[area], self.residual[area])

    def copy(self) -> UnroundedEmbedding:
        """A copy whose arrays may be written to."""
        return UnroundedEmbedding(self.pixels.copy(), self.residual.copy())
