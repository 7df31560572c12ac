"""How many bits each cell of a picture carries: rate allocation.

The distortion of a cell grows with the square of its base, so the total is least where all cells
carry the same (reverse water-filling). But values near 0 and 255 cannot change to both sides and
cost more; and noise is seen most in flat cells, whose distortion therefore counts up to twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.digits import block_size
from iicnet_cli.payload.rate_map import CELL, RateMap, cell_counts
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import MAX_BASE, expected_mse

_VALUES = 256

_FLAT_WEIGHT = 1.0
"""The distortion of a flat cell counts this much more than that of a busy one, times its size."""
_BUSY = 25.0
"""A cell is half flat if neighbouring samples differ by this mean square, in 8-bit steps."""


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
        cells = _Cells.of(reference)
        counts = cells.counts[:, None]
        bases = np.arange(1, MAX_BASE + 1)
        # Of the digits, whole blocks count, so a higher base may even carry a little less.
        gained = np.diff(_sample_bits(), prepend=0) * counts
        added = np.diff(cells.distortions, axis=1, prepend=0)
        slopes = added / (np.diff(np.log2(bases) + 1, prepend=0) * counts)
        slopes *= 1 + _FLAT_WEIGHT * cells.flatness[:, None]
        # A cell is raised step by step, so the slopes must not fall.
        slopes = np.maximum.accumulate(slopes, axis=1).astype(np.float32)
        # Scattered, so that where all cells are alike the higher bases are spread over the picture.
        scatter = np.random.default_rng(0).permutation(len(counts))
        order = np.lexsort((scatter.repeat(MAX_BASE), slopes.reshape(-1)))
        return cls(
            reference.shape,
            order // MAX_BASE,
            np.maximum.accumulate(np.cumsum(gained.reshape(-1)[order])),
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


@dataclass(frozen=True)
class _Cells:
    """What the allocation has to know of n cells.

    Attributes:
        counts: (n,), number of samples.
        distortions: (n, bases), expected sum of squared errors with each base.
        flatness: (n,), how flat each is, 0..1, from the differences of neighbouring samples.
    """

    counts: NDArray[np.int64]
    distortions: NDArray[np.float64]
    flatness: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: Pixels) -> _Cells:
        """Measure the cells of a picture, (H, W) or (H, W, C)."""
        errors = _value_errors()
        # A row of cells after the other, which bounds the memory.
        rows = [pixels[top : top + CELL] for top in range(0, len(pixels), CELL)]
        histograms = [_cell_histograms(row) for row in rows]
        return cls(
            np.concatenate([each.sum(axis=1) for each in histograms]),
            np.concatenate([each.astype(np.float64) @ errors for each in histograms]),
            np.concatenate([_flatness(row) for row in rows]),
        )


def _cell_histograms(row: Pixels) -> NDArray[np.int64]:
    """(n, values), how often each value occurs in each cell of a row of n cells."""
    height, width = row.shape[:2]
    count = cell_counts(row.shape)[1]
    bins = np.tile(np.arange(width) // CELL * _VALUES, height)
    histograms = np.zeros((count, _VALUES), np.int64)
    for channel in row.reshape(height * width, -1).T:
        histograms += np.bincount(bins + channel, minlength=histograms.size).reshape(-1, _VALUES)
    return histograms


def _flatness(row: Pixels) -> NDArray[np.float64]:
    """(n,), how flat each cell of a row of n cells is."""
    pixels = row.reshape(*row.shape[:2], -1).astype(np.float32)
    activity = np.zeros(row.shape[1], np.float64)
    for axis in (0, 1):
        squares = np.square(np.diff(pixels, axis=axis)).mean(axis=2)
        activity[: squares.shape[1]] += squares.sum(axis=0) / max(1, squares.shape[0]) / 2
    lefts = np.arange(0, len(activity), CELL)
    means = np.add.reduceat(activity, lefts) / np.add.reduceat(np.ones_like(activity), lefts)
    return np.asarray(_BUSY / (_BUSY + means), np.float64)


def _sample_bits() -> NDArray[np.float64]:
    """Bits that a sample carries with each base: one, and its share of a block of digits."""
    blocks = [block_size(base) for base in range(1, MAX_BASE + 1)]
    return np.array([1 + bits / digits for digits, bits in blocks])


def _value_errors() -> NDArray[np.float64]:
    """(values, bases), the expected squared error of a sample of each value.

    Quantization to the multiples of 2 q that lie within 0..255 would have an error of ((2 - r)**3 +
    r**3) q**2 / 6, where r q is the distance to 0 or 255, at most q. The trellis has 3/4 of it.
    """
    values, bases = np.arange(_VALUES)[:, None], np.arange(1, MAX_BASE + 1)
    distance = np.minimum(np.minimum(values, _VALUES - 1 - values) + 0.5, bases) / bases
    one_sided = ((2 - distance) ** 3 + distance**3) / 2
    errors: NDArray[np.float64] = expected_mse(bases) * one_sided
    return errors
