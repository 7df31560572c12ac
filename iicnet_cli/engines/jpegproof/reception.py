"""A received picture on one lattice and grid: its coefficients, their noise, and lost blocks."""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.dct_blocks import (
    BLOCK,
    Floats,
    forward_dct,
    luma_of,
    whole_blocks,
)
from iicnet_cli.engines.jpegproof.reliabilities import (
    count_distances,
    distances_to_even,
    find_lost_blocks,
    fit_noise,
    likelihood_ratios,
)
from iicnet_cli.pictures.arrays import Pixels

_CLIPPED_PIXELS = (1, 3, 7, 17)
"""Blocks with at least so many pixels that are black or white in a channel are classes of their
own: clipping is what disturbs the lattice most."""
_INDEX_CLASSES = 3
"""Coefficients with the index 0, 1 or -1, and any other one are classes as well: JPEG with another
step moves all multiples of the spacing, but not 0."""
_LEAST_COEFFICIENTS = 40
"""A class of fewer coefficients gets the noise of a larger one."""


Blocks = tuple[NDArray[np.intp], ...]
"""Rows and columns of some blocks."""


@dataclasses.dataclass(frozen=True)
class ReceivedBlocks:
    """What does not depend on the lattice.

    Attributes:
        coefficients: (rows, columns, 8, 8).
        classes: (rows, columns), how much of the block is clipped: 0 (nothing) to 4.
    """

    coefficients: Floats
    classes: NDArray[np.intp]

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """The blocks of a picture (H, W, 3) whose grid starts at its top left corner."""
        rows, columns = whole_blocks(pixels)
        area = pixels[: rows * BLOCK, : columns * BLOCK]
        clipped = ((area == 0) | (area == 255)).any(2)
        counts = clipped.reshape(rows, BLOCK, columns, BLOCK).sum((1, 3))
        return cls(forward_dct(luma_of(area)), np.searchsorted(_CLIPPED_PIXELS, counts, "right"))

    def __getitem__(self, area: tuple[slice, slice]) -> Self:
        """Some rows and columns of blocks."""
        return type(self)(self.coefficients[area], self.classes[area])


@dataclasses.dataclass(frozen=True)
class Reception:
    """The coefficients of a received picture on a lattice, placed in the whole picture.

    Attributes:
        scaled: (rows, columns, P), in units of the spacings; blocks that were cut off are 0.
        classes: (rows, columns, P), of clipping and index: which noise each coefficient has.
        noise: (classes, P, bins), as :func:`likelihood_ratios` takes it.
        lost: (rows, columns), the probability that a block carries nothing.
        cut_off: (rows, columns), 1 for blocks that were cut off, and 0 for all others.
    """

    scaled: Floats
    classes: NDArray[np.intp]
    noise: NDArray[np.float64]
    lost: NDArray[np.float64]
    cut_off: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: ReceivedBlocks, lattice: CoefficientLattice) -> Self:
        """A received part by itself."""
        scaled = lattice.scaled(blocks.coefficients)
        indices = np.minimum(np.abs(np.rint(scaled)), _INDEX_CLASSES - 1).astype(np.intp)
        classes = blocks.classes[..., None] * _INDEX_CLASSES + indices
        lost = np.zeros(blocks.classes.shape)
        # Where the strong position holds control cells or a small version, its indices are even.
        usual = np.delete(np.arange(scaled.shape[2]), lattice.strong_index)
        for _ in range(2):  # lost blocks disturb the first estimate of the noise
            kept = lost < 0.5
            noise = np.stack(
                [
                    fit_by_class(scaled[kept, position], classes[kept, position])
                    for position in range(scaled.shape[2])
                ],
                axis=1,
            )
            lost = find_lost_blocks(
                scaled[..., usual], noise[:, usual], classes[..., usual], lattice.odd_shares[usual]
            )
        return cls(scaled, classes, noise, lost, np.zeros(lost.shape))

    def placed(self, top: int, left: int, rows: int, columns: int) -> Self:
        """The same in a picture of ``rows`` x ``columns`` blocks, (top, left) blocks from its
        corner."""
        height, width = self.lost.shape
        lost, cut_off = np.ones((2, rows, columns))
        scaled = np.zeros((rows, columns, self.scaled.shape[2]), np.float32)
        classes = np.zeros(scaled.shape, np.intp)
        for whole, own in (
            (lost, self.lost),
            (cut_off, self.cut_off),
            (scaled, self.scaled),
            (classes, self.classes),
        ):
            whole[top : top + height, left : left + width] = own
        return type(self)(scaled, classes, self.noise, lost, cut_off)

    def likelihoods(self, position: int) -> Floats:
        """Log of P(0) / P(1) of the lowest bit of a position in all blocks, (rows, columns)."""
        distances = distances_to_even(self.scaled[..., position])
        classes = self.classes[..., position]
        return likelihood_ratios(distances, self.noise[:, position], classes, self.lost)

    def upper_likelihoods(self, position: int, lower: NDArray[np.int32], stage: int) -> Floats:
        """The same for a bit above the lowest one.

        Args:
            position: 0 to P - 1.
            lower: (rows, columns), all bits below.
            stage: number of the bit, 1 or 2.
        """
        scaled = (self.scaled[..., position] - lower.astype(np.float32)) / np.float32(1 << stage)
        classes, kept = self.classes[..., position], self.lost < 0.5
        noise = fit_by_class(scaled[kept], classes[kept])
        return likelihood_ratios(distances_to_even(scaled), noise, classes, self.lost)

    def strong_likelihoods(
        self, control_bit: tuple[int, int], blocks: Blocks, *, trusts_loss: bool
    ) -> Floats:
        """The same for control cells or a small version, whose lower bits are all 0.

        Args:
            control_bit: position and number of the bit.
            blocks: indices of some blocks.
            trusts_loss: whether ``lost`` is right. After a quality that is too low for the payload
                it is not, for blocks then seem to carry nothing.
        """
        position, bit = control_bit
        lost = (self.lost if trusts_loss else self.cut_off)[blocks]
        if bit == 0:
            return likelihood_ratios(
                distances_to_even(self.scaled[..., position][blocks]),
                self.noise[:, position],
                self.classes[..., position][blocks],
                lost,
            )
        scaled = self.scaled[..., position][blocks] / np.float32(1 << bit)
        clipped = self.classes[..., position][blocks] // _INDEX_CLASSES
        indices = np.minimum(np.abs(np.rint(scaled)), _INDEX_CLASSES - 1).astype(np.intp)
        classes = clipped * _INDEX_CLASSES + indices
        kept = lost < 0.5
        noise = fit_by_class(scaled[kept], classes[kept])
        return likelihood_ratios(distances_to_even(scaled), noise, classes, lost)


def fit_by_class(scaled: Floats, classes: NDArray[np.intp]) -> NDArray[np.float64]:
    """The noise (classes, bins) of a position.

    Args:
        scaled: (N,), in units of the spacing.
        classes: (N,), of :class:`Reception`.
    """
    clippings = len(_CLIPPED_PIXELS) + 1
    seen = count_distances(scaled, classes, clippings * _INDEX_CLASSES)
    seen = seen.reshape(clippings, _INDEX_CLASSES, -1)
    unclipped = [fit_noise(_first_large(own, seen[0].sum(0))) for own in seen[0]]
    noise = [each.probabilities for each in unclipped]
    same_index = seen[1:].sum(0)
    for of_clipping in seen[1:]:
        for own, alike, least in zip(of_clipping, same_index, unclipped, strict=True):
            clipped = _first_large(own, alike, same_index.sum(0))
            noise.append(fit_noise(clipped, least).probabilities)
    return np.array(noise)


def _first_large(*counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """The first of these counts with enough coefficients, or the last one."""
    return next((each for each in counts if each.sum() >= _LEAST_COEFFICIENTS), counts[-1])
