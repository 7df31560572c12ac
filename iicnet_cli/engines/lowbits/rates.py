"""How many bits each cell of a picture carries: rate allocation.

The distortion of a cell grows with the square of its base, so the total is least where all cells
carry the same (reverse water-filling), except that values near 0 and 255 cannot change to both
sides and cost more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.rate_map import CELL, RateMap, cell_counts
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import MAX_BASE, expected_mse

_VALUES = 256


@dataclass(frozen=True)
class RateAllocation:
    """Steps by which the bases of single cells are raised by one, the cheapest ones first.

    Attributes:
        shape: of the picture.
        cells: (n,) index of the cell that each step raises.
        bits: (n,) bits that all steps up to this one carry.
        mse: (n,) expected mean squared error of the picture after this step.
    """

    shape: tuple[int, ...]
    cells: NDArray[np.int64]
    bits: NDArray[np.float64]
    mse: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Pixels) -> RateAllocation:
        """Allocate rates to the cells of a picture, (H, W) or (H, W, C)."""
        counts, distortions = _cell_distortions(reference)
        bases = np.arange(1, MAX_BASE + 1)
        gained = np.diff(np.log2(bases) + 1, prepend=0) * counts[:, None]
        added = np.diff(distortions, axis=1, prepend=0)
        # A cell is raised step by step, so the slopes must not fall.
        slopes = np.maximum.accumulate(added / gained, axis=1).astype(np.float32)
        # Scattered, so that where all cells are alike the higher bases are spread over the picture.
        scatter = np.random.default_rng(0).permutation(len(counts))
        order = np.lexsort((scatter.repeat(MAX_BASE), slopes.reshape(-1)))
        return cls(
            reference.shape,
            order // MAX_BASE,
            np.cumsum(gained.reshape(-1)[order]),
            np.cumsum(added.reshape(-1)[order]) / reference.size,
        )

    def rate_map(self, bits: float) -> RateMap:
        """The map with the least distortion that carries this many bits; it may lack a few."""
        steps = int(np.searchsorted(self.bits, bits)) + 1
        rows, columns = cell_counts(self.shape)
        bases = np.bincount(self.cells[:steps], minlength=rows * columns)
        return RateMap(bases.astype(np.uint8).reshape(rows, columns))

    def bits_at(self, mse: float) -> float:
        """How many bits fit into the picture at a mean squared error."""
        return float(np.interp(mse, self.mse, self.bits, left=0))

    def mse_at(self, bits: float) -> float:
        """The expected mean squared error for this many bits."""
        return float(np.interp(bits, self.bits, self.mse, left=0))


def _cell_distortions(reference: Pixels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of samples of each cell, and (cells, bases) their expected summed squared errors."""
    height, width = reference.shape[:2]
    rows, columns = cell_counts(reference.shape)
    row_cells = np.arange(height) // CELL * columns
    cells = row_cells[:, None] + np.arange(width) // CELL
    flat = reference.reshape(height * width, -1)
    histograms = np.zeros(rows * columns * _VALUES, np.int64)
    for channel in flat.T:
        histograms += np.bincount(cells.reshape(-1) * _VALUES + channel, minlength=len(histograms))
    histograms = histograms.reshape(-1, _VALUES)
    return histograms.sum(axis=1), histograms.astype(np.float64) @ _value_errors()


def _value_errors() -> NDArray[np.float64]:
    """(values, bases), the expected squared error of a sample of each value.

    Near 0 and 255 it is larger in the same ratio as that of the nearest multiple of 2 q, plus a
    random offset, which lies within 0..255.
    """
    values = np.arange(_VALUES)
    errors = np.empty((_VALUES, MAX_BASE))
    for base in range(1, MAX_BASE + 1):
        step = 2 * base
        residues = np.arange(step)
        change = (residues - values[:, None]) % step
        change = np.where(change > base, change - step, change)
        reached = values[:, None] + change
        change = change + np.where(reached < 0, step, 0) - np.where(reached > 255, step, 0)
        nearest = np.mean(change.astype(np.float64) ** 2, axis=1)
        errors[:, base - 1] = nearest * (expected_mse(np.array(base)) / nearest[_VALUES // 2])
    return errors
