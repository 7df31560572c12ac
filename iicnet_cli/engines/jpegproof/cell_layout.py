"""Which cells of a picture carry what.

A cell is one bit of one DCT coefficient. *Control cells* (pilots and mark, ``control_cells.py``)
are in a quarter of the blocks, one in each. Since version 2 of the mark they are the highest bit of
the strong position of the lattice, whose lower bits are 0 there: that makes its spacing two or four
times as wide, so that pilots and mark survive much lower qualities than the payload does. If the
picture has a *small version* of what it holds, that has the same bit in all other blocks, and
survives as much.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.control_cells import payload_blocks

VERSIONS = (2, 1)
"""Versions of the mark that are read; the first one is written."""


@dataclasses.dataclass(frozen=True)
class CellLayout:
    """Where pilots, mark, small version and payload are.

    Attributes:
        lattice: of the picture.
        rows: blocks of the picture.
        columns: likewise.
        version: of the mark.
        has_small_version: whether there is one.
    """

    lattice: CoefficientLattice
    rows: int
    columns: int
    version: int = VERSIONS[0]
    has_small_version: bool = False

    @property
    def control_bit(self) -> tuple[int, int]:
        """Position and number of the bit of control cells and small version."""
        return control_bit(self.lattice, self.version)

    def payload_coefficients(self, stage: int) -> NDArray[np.bool_]:
        """(rows, columns, P), the coefficients whose bit of this number carries payload."""
        lattice = self.lattice
        shape = self.rows, self.columns, len(lattice.bits)
        taken = np.broadcast_to(lattice.bits > stage, shape).copy()
        position, _ = self.control_bit
        if self.has_small_version:
            taken[..., position] = False
        else:
            taken[..., position] &= payload_blocks(self.rows, self.columns)
        return taken

    def small_version_cells(self) -> NDArray[np.intp]:
        """Indices of its coefficients into the flattened (rows, columns, P)."""
        positions = len(self.lattice.bits)
        blocks = np.flatnonzero(payload_blocks(self.rows, self.columns))
        return blocks * positions + self.control_bit[0]


def control_bit(lattice: CoefficientLattice, version: int) -> tuple[int, int]:
    """Position and number of the bit that carries pilots and mark."""
    if version == 1:
        return 0, 0
    strong = lattice.strong_index
    return strong, int(lattice.bits[strong]) - 1
