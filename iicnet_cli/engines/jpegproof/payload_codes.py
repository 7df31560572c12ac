"""How the payload is divided among the stages and their codewords; the mark says all of it."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.robust_mark import RATE_UNITS, RobustMark
from iicnet_cli.engines.jpegproof.staged_code import StageCells, StageCode, divide

CHECK_BYTES = 4
"""Bytes of the check sum behind the payload."""
_LEAST_BITS = 8
"""Message bits of a codeword, at least; a short payload is padded."""


def stage_cells(layout: CellLayout) -> list[StageCells]:
    """The cells of each stage of a picture, the lowest bits first."""
    return [StageCells.of(layout, stage) for stage in range(int(layout.lattice.bits.max()))]


@dataclasses.dataclass(frozen=True)
class PayloadCodes:
    """The codes of all stages.

    Attributes:
        lattice: of the picture.
        mark: of the picture.
    """

    lattice: CoefficientLattice
    mark: RobustMark

    @property
    def layout(self) -> CellLayout:
        """Which cells carry what."""
        mark = self.mark
        return CellLayout(
            self.lattice, mark.rows, mark.columns, mark.version, mark.has_small_version
        )

    @cached_property
    def stages(self) -> list[list[StageCode]]:
        """The codewords of each stage.

        Raises:
            ValueError: the mark is impossible.
        """
        cells = stage_cells(self.layout)
        upper = [
            max(_LEAST_BITS, len(stage.indices) * rate // RATE_UNITS)
            for stage, rate in zip(cells[1:], self.mark.upper_rates, strict=False)
        ]
        least = _LEAST_BITS * len(cells[0].codewords())
        lowest = max(8 * (self.mark.payload_bytes + CHECK_BYTES) - sum(upper), least)
        return [
            divide(stage, bits, self.mark.group_bits)
            for stage, bits in zip(cells, (lowest, *upper), strict=True)
        ]

    @property
    def message_bits(self) -> int:
        """Of all codewords: payload, check sum and padding."""
        return sum(code.message_bits for stage in self.stages for code in stage)
