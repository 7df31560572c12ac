"""The mark of a picture whose low bits carry bytes: how many, where, and their checksum.

It lies in the least-significant bits of the same samples as the mark of the network (`mark.py`),
and has a magic of its own. Multi-byte numbers are big-endian::

    +----------+  magic, version, size of the map, size of the payload, CRC-32 of the payload,
    | header   |  CRC-16 of all this: 17 bytes
    +----------+
    | rate map |  bytes of a RateMap, CRC-32
    +----------+
"""

from __future__ import annotations

import binascii
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.errors import DamagedError, UnsupportedVersionError
from iicnet_cli.payload.carriers import header_positions
from iicnet_cli.payload.rate_map import RateMap, largest_size
from iicnet_cli.pictures.arrays import Pixels

_MAGIC = b"\x1c\xeb"
_VERSION = 1
_FIELDS = struct.Struct(">2sBIII")  # magic, version, size of the map, size and CRC of the payload
_CRC16_BYTES = 2
_CRC32_BYTES = 4
_HEADER_BYTES = _FIELDS.size + _CRC16_BYTES


@dataclass(frozen=True)
class LowBitsMark:
    """What a reader has to know before it reads the payload.

    Attributes:
        rate_map: where the payload lies.
        size: bytes of the payload, below 2**32.
        crc: CRC-32 of the payload.
    """

    rate_map: RateMap
    size: int
    crc: int

    def to_bytes(self) -> bytes:
        """The bytes that the pixels carry."""
        body = self.rate_map.to_bytes()
        fields = _FIELDS.pack(_MAGIC, _VERSION, len(body), self.size, self.crc)
        crc16 = binascii.crc_hqx(fields, 0).to_bytes(_CRC16_BYTES, "big")
        return fields + crc16 + body + zlib.crc32(body).to_bytes(_CRC32_BYTES, "big")


def mark_positions(samples: int, size: int) -> NDArray[np.int64]:
    """Where a mark of this many bytes lies: a sample of the flattened picture for each bit.

    Raises:
        ValueError: there are too few samples.
    """
    positions = header_positions(samples, 8 * size)
    if len(positions) < 8 * size:
        raise ValueError(f"a mark of {size} bytes does not fit into {samples} samples")
    return positions


def has_lowbits_mark(pixels: Pixels) -> bool:
    """Whether a picture, (H, W) or (H, W, C), begins with the header of such a mark."""
    return _read_fields(pixels) is not None


def read_lowbits_mark(pixels: Pixels) -> tuple[LowBitsMark, int] | None:
    """Read the mark of a picture.

    Args:
        pixels: (H, W) or (H, W, C) uint8.

    Returns:
        The mark and the number of its bytes; ``None`` if there is no such mark.

    Raises:
        DamagedError: there is one, but it cannot be read as a whole.
        UnsupportedVersionError: it is of a newer version.
    """
    fields = _read_fields(pixels)
    if fields is None:
        return None
    version, map_size, size, crc = fields
    if version != _VERSION:
        raise UnsupportedVersionError(
            f"the low bits carry a file in a way (version {version}) that is unknown here",
            hint="upgrade iicnet",
        )
    total = _HEADER_BYTES + map_size + _CRC32_BYTES
    if 8 * total <= pixels.size and map_size <= largest_size(pixels.shape):
        data = _read_bytes(pixels, total)[_HEADER_BYTES:]
        body = data[:-_CRC32_BYTES]
        if zlib.crc32(body).to_bytes(_CRC32_BYTES, "big") == data[-_CRC32_BYTES:]:
            rate_map = RateMap.from_bytes(body, pixels.shape)
            if rate_map is not None:
                return LowBitsMark(rate_map, size, crc), total
    raise DamagedError("the map of where the payload lies is damaged: the pixels were altered")


def _read_fields(pixels: Pixels) -> tuple[int, int, int, int] | None:
    data = _read_bytes(pixels, _HEADER_BYTES)
    if len(data) < _HEADER_BYTES:  # a tiny picture
        return None
    magic, version, map_size, size, crc = _FIELDS.unpack_from(data)
    crc16 = int.from_bytes(data[_FIELDS.size :], "big")
    if magic != _MAGIC or binascii.crc_hqx(data[: _FIELDS.size], 0) != crc16:
        return None
    return version, map_size, size, crc


def _read_bytes(pixels: Pixels, size: int) -> bytes:
    flat = pixels.reshape(-1)
    return np.packbits(flat[header_positions(flat.size, 8 * size)] & 1).tobytes()
