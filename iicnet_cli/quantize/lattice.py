"""The unrounded embedding, and the lattices of 8-bit values that its samples are rounded to.

A sample that must have n given low bits is rounded to a lattice of step 2**n. Without given bits
the step is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

NoiseShapingFilter = NDArray[np.float32]
"""Weights of error diffusion, (5, C, C), for each of ``NEIGHBOURS``.

Entry [i, a, b] is the share of the error (rounded minus unrounded) of channel a at neighbour i that
is added to channel b before that is rounded. Of the pixel itself (i = 0) only a < b count.
"""

NEIGHBOURS = ((0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Offsets (row, column) of the pixels whose errors reach a pixel: itself, left, upper left, above,
upper right."""

RESIDUAL_UNITS = 256
"""A rounding residual counts in this many parts of one 8-bit step."""

LATTICE_STEPS = np.float32(2) ** np.arange(9, dtype=np.float32)
"""Distance between two 8-bit values with the same low bits, indexed by how many bits (0 to 8)."""

_ROWS_AT_ONCE = 256
"""An error is summed over this many rows at once, which bounds the memory it takes."""


@dataclass(frozen=True)
class UnroundedEmbedding:
    """An embedding before rounding, stored as the nearest 8-bit values and the rest.

    Attributes:
        pixels: uint8, any shape, the embedding rounded to the nearest 8-bit values.
        residual: int8 of the same shape, what this rounding took from each sample, in
            1/``RESIDUAL_UNITS`` of an 8-bit step.
    """

    pixels: Pixels
    residual: NDArray[np.int8]

    @classmethod
    def from_pixels(cls, pixels: Pixels) -> UnroundedEmbedding:
        """An embedding that already consists of 8-bit values."""
        return cls(pixels, np.zeros(pixels.shape, np.int8))

    def __getitem__(self, index: Any) -> UnroundedEmbedding:
        """The samples at a NumPy index; slices share memory with the whole."""
        return UnroundedEmbedding(self.pixels[index], self.residual[index])

    def copy(self) -> UnroundedEmbedding:
        """A copy that shares no memory."""
        return UnroundedEmbedding(self.pixels.copy(), self.residual.copy())

    def reshape(self, *shape: int) -> UnroundedEmbedding:
        """The same samples in another shape."""
        return UnroundedEmbedding(self.pixels.reshape(shape), self.residual.reshape(shape))

    def values(self) -> NDArray[np.float32]:
        """The unrounded values, on the scale 0 to 255."""
        values = self.residual.astype(np.float32)
        values /= RESIDUAL_UNITS
        values += self.pixels
        return values

    def mse(self, wanted: Pixels) -> float:
        """Mean squared error of the unrounded values, in squared 8-bit steps.

        Args:
            wanted: uint8 of the same shape.
        """
        total = 0.0
        for top in range(0, len(self.pixels), _ROWS_AT_ONCE):
            rows = slice(top, top + _ROWS_AT_ONCE)
            difference = self[rows].values()
            difference -= wanted[rows]
            total += float(np.sum(np.square(difference, out=difference), dtype=np.float64))
        return total / self.pixels.size


def round_to_lattice(
    values: NDArray[np.float32], low_bits: Pixels, residues: Pixels
) -> NDArray[np.float32]:
    """Round each value to the nearest 8-bit value with the given low bits.

    Args:
        values: on the scale 0 to 255, any shape.
        low_bits: of the same shape, how many low bits are given, 0 to 8.
        residues: of the same shape, these bits as a number below 2**low_bits.

    Returns:
        Whole numbers within 0..255; of two that are equally near the higher one.
    """
    step, low = LATTICE_STEPS[low_bits], residues.astype(np.float32)
    points = np.floor((values - low) / step + np.float32(0.5)) * step + low
    clipped: NDArray[np.float32] = np.clip(points, low, 256 - step + low, out=points)
    return clipped
