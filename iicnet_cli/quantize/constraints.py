"""What the quantized samples of an embedding have to carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.trellis_codes import TrellisCode

ALL_BITS = 8
"""This number of given low bits leaves a sample no choice."""
TRELLIS_CODED = 9
"""In ``SampleConstraints.low_bits``, this value marks the samples of pixels in a trellis code."""


@dataclass(frozen=True)
class SampleConstraints:
    """The bits that samples have to carry.

    Attributes:
        low_bits: uint8, any shape. For each sample, how many of its least significant bits are
            given, 0 to 8; or ``TRELLIS_CODED`` for all samples of a pixel that carries message
            bits of the trellis code.
        residues: uint8 of the same shape. The given low bits as a number below 2**low_bits, or
            the message bits that a trellis-coded sample has to yield.
        code: the trellis code, where there are trellis-coded pixels.
    """

    low_bits: Pixels
    residues: Pixels
    code: TrellisCode | None = None

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> SampleConstraints:
        """No constraints on samples of this shape."""
        return cls(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))

    def __getitem__(self, index: Any) -> SampleConstraints:
        """The constraints at a NumPy index."""
        return SampleConstraints(self.low_bits[index], self.residues[index], self.code)

    def reshape(self, *shape: int) -> SampleConstraints:
        """The same constraints on samples in another shape."""
        return SampleConstraints(
            self.low_bits.reshape(shape), self.residues.reshape(shape), self.code
        )

    def keep(self, mask: NDArray[np.bool_], pixels: Pixels) -> SampleConstraints:
        """Also require that samples without constraints keep their value where the mask is set.

        Args:
            mask: (H, W).
            pixels: (H, W, C), the values to keep; the constraints have this shape, too.
        """
        kept = mask[..., None] & (self.low_bits == 0)
        return SampleConstraints(
            np.where(kept, np.uint8(ALL_BITS), self.low_bits),
            np.where(kept, pixels, self.residues),
            self.code,
        )

    @property
    def has_trellis_coded(self) -> bool:
        """Whether any pixel is trellis-coded."""
        return int(self.low_bits.max(initial=0)) == TRELLIS_CODED
