"""The lattice of DCT coefficients that carries bits: quantization index modulation.

A coefficient is moved to the nearest integer multiple of its spacing whose index has the wanted low
bits: Chen and Wornell, "Quantization index modulation", IEEE Trans. Information Theory, 2001. Where
the spacing is the quantization step of a JPEG, that JPEG changes nothing; a finer step moves a
coefficient by less than half a spacing.

Which positions carry how many bits follows from one number, the limit. The n-th bit of a
coefficient costs in proportion to (2**(n - 1) * spacing)**2, which is reverse water-filling: a bit
is used where it is cheaper than the limit allows.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.dct_blocks import Floats
from iicnet_cli.engines.jpegproof.quantization_tables import luma_steps

Indices = NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class CoefficientLattice:
    """Which DCT coefficients of each block carry bits, and how far apart their values lie.

    Attributes:
        quality: the lowest quality of JPEG that leaves the lattice as it is.
        limit: the largest spacing of positions that carry a bit; a position carries a second bit up
            to ``limit / sqrt(3)`` and a third up to ``limit / sqrt(12)``.
        least_spacing: of positions whose quantization step is smaller.
        group_bits: of the shaping code; fewer bits cost less in the cover and carry less.
        spared_group_bits: of the shaping code where a reserve is left: the stronger error
            correction leaves less to be shaped.
        strong_position: vertical and horizontal frequency of the position whose highest bit carries
            pilots, mark and small version. With the lower bits 0, its values lie at least as far
            apart as the steps of quality 50.
    """

    quality: int
    limit: float
    least_spacing: float
    group_bits: int
    spared_group_bits: int
    strong_position: tuple[int, int]

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Vertical and horizontal frequencies of the (P,) positions, the widest spacing first."""
        spacings = self._all_spacings()
        order = np.argsort(-spacings, axis=None, kind="stable")
        order = order[spacings.ravel()[order] <= self.limit]
        return order // 8, order % 8

    @cached_property
    def spacings(self) -> Floats:
        """(P,), in units of orthonormal coefficients."""
        return self._all_spacings()[self.positions].astype(np.float32)

    @cached_property
    def bits(self) -> NDArray[np.int64]:
        """(P,), 1 to 3."""
        ratio = self.limit / self.spacings
        return 1 + (ratio >= 3**0.5).astype(np.int64) + (ratio >= 12**0.5)

    @cached_property
    def strong_index(self) -> int:
        """Number of the strong position, 0 to P - 1."""
        return list(zip(*self.positions, strict=True)).index(self.strong_position)

    @cached_property
    def odd_shares(self) -> NDArray[np.float64]:
        """(P,), share of odd indices to be expected in smooth areas: shaping prefers 0 to 1."""
        return np.where(self.bits == 1, 0.25, 0.5)

    @cached_property
    def mask(self) -> Floats:
        """(8, 8), 1 at the positions."""
        mask = np.zeros((8, 8), np.float32)
        mask[self.positions] = 1
        return mask

    def scaled(self, coefficients: Floats) -> Floats:
        """Coefficients (..., 8, 8) as (..., P), in units of the spacings."""
        return np.ascontiguousarray(coefficients[..., *self.positions] / self.spacings)

    def nearest(self, scaled: Floats, labels: Indices) -> Floats:
        """The points with the given labels next to coefficients, (..., P), both as ``scaled``.

        Args:
            scaled: see :meth:`scaled`.
            labels: the low bits of the wanted indices, 0 to ``2**bits - 1``.
        """
        period = (1 << self.bits).astype(np.float32)
        return np.asarray(labels + period * np.rint((scaled - labels) / period), np.float32)

    def with_points(self, coefficients: Floats, points: Floats) -> Floats:
        """A copy of coefficients (..., 8, 8) with the ``points`` (..., P) at the positions."""
        changed = coefficients.copy()
        changed[..., *self.positions] = points * self.spacings
        return changed

    def _all_spacings(self) -> NDArray[np.float64]:
        return np.maximum(luma_steps(self.quality), self.least_spacing)
