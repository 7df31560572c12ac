"""From payload bytes to pixels."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.control_cells import mark_cells, pilots
from iicnet_cli.engines.jpegproof.dct_blocks import Floats, forward_dct, luma_of
from iicnet_cli.engines.jpegproof.luma_rendering import render
from iicnet_cli.engines.jpegproof.payload_codes import CHECK_BYTES, PayloadCodes
from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.repeat_accumulate import Bits
from iicnet_cli.engines.jpegproof.robust_mark import MARK_LENGTH, RobustMark
from iicnet_cli.engines.jpegproof.small_version_code import small_version_codes, to_message
from iicnet_cli.engines.jpegproof.staged_code import StageCode
from iicnet_cli.pictures.arrays import Pixels

_FAR_OFF = 0.25
"""A coefficient is lost if it lies farther from its point than this, in units of the spacing."""
_LOST_SHARE = 0.2
"""A block is left as it is if a larger share of its coefficients is lost: black or white areas."""

Labels = NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class LatticeCover:
    """A cover and its coefficients on a lattice.

    Attributes:
        pixels: (H, W, 3) or (H, W).
        lattice: that the coefficients are put on.
        coefficients: (rows, columns, 8, 8).
        scaled: (rows, columns, P).
    """

    pixels: Pixels
    lattice: CoefficientLattice
    coefficients: Floats
    scaled: Floats

    @classmethod
    def of(cls, pixels: Pixels, lattice: CoefficientLattice) -> LatticeCover:
        """Transform a cover."""
        coefficients = forward_dct(luma_of(pixels))
        return cls(pixels, lattice, coefficients, lattice.scaled(coefficients))

    def rendered(self, labels: Labels) -> Pixels:
        """Pixels whose coefficients have the labels (rows, columns, P), where that is possible."""
        points = self.lattice.nearest(self.scaled, labels)
        wanted = self.lattice.with_points(self.coefficients, points)
        pixels = render(self.pixels, wanted, self.lattice.mask)
        missed = self.lattice.scaled(forward_dct(luma_of(pixels))) - points
        lost = (np.abs(missed) > _FAR_OFF).mean(2) > _LOST_SHARE
        if lost.any():
            wanted[lost] = self.coefficients[lost]
            pixels = render(self.pixels, wanted, self.lattice.mask)
        return pixels

    def bit_costs(self, labels: Labels, stage: int, cells: NDArray[np.intp]) -> Floats:
        """How much more a 1 costs than a 0, (cells,), if no further bits follow.

        Args:
            labels: (rows, columns, P); their bits below ``stage`` are known.
            stage: number of the bit.
            cells: indices into the flattened coefficients.
        """
        period = np.float32(2 << stage)
        away = self.scaled.reshape(-1)[cells] - labels.reshape(-1)[cells]
        to_zero = np.abs(away - period * np.rint(away / period))
        spacing = self.lattice.spacings[cells % len(self.lattice.spacings)]
        half = period / 2
        return np.asarray(((half - to_zero) ** 2 - to_zero**2) * spacing**2, np.float32)


def encode(cover: LatticeCover, mark: RobustMark, data: bytes, small_version: bytes) -> Pixels:
    """Embed ``data``, whose length and code the mark says, and a small version if it says so."""
    codes = PayloadCodes(cover.lattice, mark)
    payload = data + zlib.crc32(data).to_bytes(CHECK_BYTES, "big")
    message = random_bits(codes.message_bits, 1)
    message[: 8 * len(payload)] ^= np.unpackbits(np.frombuffer(payload, np.uint8))
    labels = np.zeros(cover.scaled.shape, np.int32)
    set_control_bits(labels, codes.layout, mark)
    if mark.has_small_version:
        strong = small_version_codes(codes.layout)
        _set_bits(
            cover, labels, codes.layout.control_bit[1], strong, to_message(small_version, strong)
        )
    start = 0
    for stage, codewords in enumerate(codes.stages):
        end = start + sum(code.message_bits for code in codewords)
        _set_bits(cover, labels, stage, codewords, message[start:end])
        start = end
    return cover.rendered(labels)


def _set_bits(
    cover: LatticeCover, labels: Labels, bit: int, codewords: list[StageCode], message: Bits
) -> None:
    """Write a message into one bit of the coefficients whose lower bits are known."""
    flat = labels.reshape(-1)
    start = 0
    for code in codewords:
        cells = code.cells.indices
        part = message[start : start + code.message_bits]
        bits = code.encode(part, cover.bit_costs(labels, bit, cells))
        flat[cells] |= bits.astype(np.int32) << bit
        start += code.message_bits


def set_control_bits(labels: Labels, layout: CellLayout, mark: RobustMark) -> None:
    """Write pilots and mark."""
    position, bit = layout.control_bit
    chosen = labels[..., position]
    places, bits = pilots(layout.rows, layout.columns)
    chosen[places] = bits.astype(np.int32) << bit
    places, numbers = mark_cells(layout.rows, layout.columns, MARK_LENGTH)
    chosen[places] = mark.encode()[numbers].astype(np.int32) << bit
