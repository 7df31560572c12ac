"""The small version of what a picture holds: few bytes that survive more than the rest.

They are coded as a stage of the payload is (``staged_code.py``), at a low rate, in cells with wide
spacings (``cell_layout.py``). Their number depends on the size of the picture alone, so that the
mark need not tell it.
"""

from __future__ import annotations

import zlib

import numpy as np

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.repeat_accumulate import Bits
from iicnet_cli.engines.jpegproof.staged_code import StageCells, StageCode, divide

_RATE = 2, 5
"""Message bits of so many cells: half of the picture, or a bit less, restores them."""
_LENGTH_BYTES, _CHECK_BYTES = 2, 4
"""Of the length before the bytes, and of the check sum behind them."""
_GROUP_BITS = 2
"""Nothing is shaped, so any number does."""


def small_version_capacity(layout: CellLayout) -> int:
    """Bytes of the small version, at most; at least 0."""
    size = _message_bits(StageCells.of_small_version(layout)) // 8 - _LENGTH_BYTES - _CHECK_BYTES
    return min(max(0, size), (1 << 8 * _LENGTH_BYTES) - 1)


def small_version_codes(layout: CellLayout) -> list[StageCode]:
    """Its codewords.

    Raises:
        ValueError: the picture is too small for any.
    """
    cells = StageCells.of_small_version(layout)
    return divide(cells, _message_bits(cells), _GROUP_BITS)


def _message_bits(cells: StageCells) -> int:
    return len(cells.indices) * _RATE[0] // _RATE[1]


def to_message(data: bytes, codes: list[StageCode]) -> Bits:
    """The message bits of all codewords."""
    framed = len(data).to_bytes(_LENGTH_BYTES, "big") + data
    framed += zlib.crc32(framed).to_bytes(_CHECK_BYTES, "big")
    message = random_bits(sum(code.message_bits for code in codes), 2)
    message[: 8 * len(framed)] ^= np.unpackbits(np.frombuffer(framed, np.uint8))
    return message


def from_message(message: Bits) -> bytes | None:
    """The bytes of :func:`to_message`, or ``None`` if they are damaged."""
    framed = np.packbits(message ^ random_bits(len(message), 2)).tobytes()
    end = _LENGTH_BYTES + int.from_bytes(framed[:_LENGTH_BYTES], "big")
    check = framed[end : end + _CHECK_BYTES]
    if zlib.crc32(framed[:end]).to_bytes(_CHECK_BYTES, "big") != check:
        return None
    return framed[_LENGTH_BYTES:end]
