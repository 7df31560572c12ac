"""Bits of one stage: how a message becomes the n-th bits of all coefficients, and comes back.

The lowest bits of all indices are one stage, the second bits the next. Each stage has its own error
correction, for a bit is the safer the higher it is once the lower ones are known: multilevel coding
(Imai and Hirakawa, 1977).

Cells (a bit of a coefficient of a block) are taken in a random order, so that each codeword is
spread over the whole picture and any part that is large enough restores it. First come cells whose
bit decides how far the coefficient moves; the message bits there are shaped. The parity bits come
last: they cannot be shaped, and cells where further bits follow do not need it.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.pseudorandom import random_order
from iicnet_cli.engines.jpegproof.repeat_accumulate import Bits, Floats, RepeatAccumulateCode
from iicnet_cli.engines.jpegproof.shaping_code import extract, shape

_LONGEST_CODEWORD = 200_000
"""Bits of a codeword, at most."""


@dataclasses.dataclass(frozen=True)
class StageCells:
    """The cells of a stage in the order of the code.

    Attributes:
        indices: into the flattened (rows, columns, P).
        shaped: so many at the front decide how far their coefficients move.
    """

    indices: NDArray[np.intp]
    shaped: int

    @classmethod
    def of(cls, layout: CellLayout, stage: int) -> StageCells:
        """The cells of a picture; ``stage`` 0 is that of the lowest bits."""
        return _stage_cells(layout, stage)

    @classmethod
    def of_small_version(cls, layout: CellLayout) -> StageCells:
        """The cells of the small version of a picture."""
        return _small_version_cells(layout)

    def codewords(self) -> list[StageCells]:
        """The cells of each codeword: every n-th one."""
        count = max(1, -(-len(self.indices) // _LONGEST_CODEWORD))
        return [
            StageCells(self.indices[first::count], len(range(first, self.shaped, count)))
            for first in range(count)
        ]


@lru_cache(maxsize=6)
def _stage_cells(layout: CellLayout, stage: int) -> StageCells:
    indices = np.flatnonzero(layout.payload_coefficients(stage))
    indices = indices[random_order(len(indices), 11 + stage)]
    bits = layout.lattice.bits
    last = bits[indices % len(bits)] == stage + 1
    return StageCells(np.concatenate([indices[last], indices[~last]]), int(last.sum()))


@lru_cache(maxsize=2)
def _small_version_cells(layout: CellLayout) -> StageCells:
    indices = layout.small_version_cells()
    return StageCells(indices[random_order(len(indices), 31)], 0)


@dataclasses.dataclass(frozen=True)
class StageCode:
    """How a message is coded in the cells of one codeword.

    Attributes:
        cells: of the codeword.
        message_bits: of the message.
        group_bits: of :func:`iicnet_cli.engines.jpegproof.shaping_code.shape`.
    """

    cells: StageCells
    message_bits: int
    group_bits: int

    @cached_property
    def groups(self) -> int:
        """Groups of shaped bits."""
        return min(self.message_bits // (self.group_bits - 1), self.cells.shaped // self.group_bits)

    @property
    def coded_bits(self) -> int:
        """Bits that the error correction takes as its message: with the free ones."""
        return self.message_bits + self.groups

    def encode(self, message: Bits, costs: Floats) -> Bits:
        """The bits of all cells.

        Args:
            message: (message_bits,).
            costs: (cells,), how much more a 1 costs than a 0.
        """
        width = self.group_bits
        split = self.groups * (width - 1)
        shaped = shape(
            message[:split].reshape(self.groups, width - 1),
            costs[: self.groups * width].reshape(self.groups, width),
            width,
        )
        coded = np.concatenate([shaped.reshape(-1), message[split:]])
        return self._correction.encode(coded)

    def decode(self, likelihoods: Floats) -> tuple[Bits, Bits, bool]:
        """The bits of all cells, the message, and whether all parity checks hold.

        Args:
            likelihoods: log of P(0) / P(1) for each cell.
        """
        bits, holds = self._correction.decode(likelihoods)
        width = self.group_bits
        split = self.groups * width
        message = extract(bits[:split].reshape(self.groups, width), width).reshape(-1)
        return bits, np.concatenate([message, bits[split : self.coded_bits]]), holds

    @cached_property
    def _correction(self) -> RepeatAccumulateCode:
        return RepeatAccumulateCode(self.coded_bits, len(self.cells.indices))


def divide(cells: StageCells, message_bits: int, group_bits: int) -> list[StageCode]:
    """The codewords that carry a message in the cells of a stage.

    Raises:
        ValueError: it does not fit.
    """
    parts = cells.codewords()
    ends = [message_bits * number // len(parts) for number in range(len(parts) + 1)]
    codes = [
        StageCode(part, end - start, group_bits)
        for part, start, end in zip(parts, ends, ends[1:], strict=False)
    ]
    for code in codes:
        if not 0 < code.coded_bits < len(code.cells.indices):
            raise ValueError(f"{message_bits} bits do not fit {len(cells.indices)} cells")
    return codes
