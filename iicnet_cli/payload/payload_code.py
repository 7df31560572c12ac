"""The ways in which a payload can lie in samples."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES, TrellisCode


class PayloadCode(IntEnum):
    """How samples carry a payload. The values are those in the mark and never change.

    With ``LSB_n`` each carrier is a sample with n payload bits as its low bits. With ``TRELLIS_n``
    each carrier is a pixel with n payload bits, carried by a syndrome-trellis code. (A grey pixel
    carries fewer: 1 bit with n up to 3, else 2.)
    """

    LSB_1 = 1
    LSB_2 = 2
    TRELLIS_1 = 9
    TRELLIS_2 = 10
    TRELLIS_3 = 11
    TRELLIS_4 = 12
    TRELLIS_5 = 13
    TRELLIS_6 = 14

    @classmethod
    def trellis(cls, bits: int) -> Self:
        """The trellis code with this many payload bits to an RGB pixel.

        Raises:
            ValueError: not 1 to 6 bits.
        """
        if bits not in TRELLIS_CODES:
            raise ValueError(f"there is no trellis code of {bits} bits to a pixel")
        return cls(cls.TRELLIS_1 - 1 + bits)

    @property
    def trellis_bits(self) -> int:
        """Payload bits to an RGB pixel of a trellis code; 0 for plain low bits."""
        return max(0, self - self.TRELLIS_1 + 1)

    @property
    def trellis_code(self) -> TrellisCode | None:
        """The trellis code; ``None`` for plain low bits."""
        return TRELLIS_CODES.get(self.trellis_bits)
