"""payload/lowbits_mark.py: the mark of a picture whose low bits carry bytes."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.errors import DamagedError, UnsupportedVersionError
from iicnet_cli.payload.lowbits_mark import (
    LowBitsMark,
    has_lowbits_mark,
    mark_positions,
    read_lowbits_mark,
)
from iicnet_cli.payload.mark_pixels import read_mark
from iicnet_cli.payload.rate_map import RateMap
from iicnet_cli.pictures.arrays import Pixels

MARK = LowBitsMark(RateMap(np.array([[1, 2, 0], [64, 5, 5]], np.uint8)), 0x12345678, 0xFEDCBA98)
SHAPE = (40, 70, 3)


def marked(data: bytes, shape: tuple[int, ...] = SHAPE) -> Pixels:
    """A picture whose least-significant bits carry a mark of these bytes."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    flat = pixels.reshape(-1)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    positions = mark_positions(flat.size, len(data))
    flat[positions] = flat[positions] & 0xFE | bits
    return pixels


def test_mark_comes_back() -> None:
    data = MARK.to_bytes()
    pixels = marked(data)
    assert has_lowbits_mark(pixels)
    found = read_lowbits_mark(pixels)
    assert found is not None
    mark, size = found
    assert (mark.size, mark.crc, size) == (MARK.size, MARK.crc, len(data))
    assert np.array_equal(mark.rate_map.bases, MARK.rate_map.bases)
    # The network has another mark.
    assert read_mark(pixels) is None


def test_the_first_bytes_never_change() -> None:
    data = MARK.to_bytes()
    size = len(data) - 21
    header = f"1ceb01 {size:08x} 12345678 fedcba98"
    assert data[:15] == bytes.fromhex(header)


def test_pictures_without_a_mark() -> None:
    for shape in ((1, 1), (4, 4, 3), SHAPE):
        assert not has_lowbits_mark(np.zeros(shape, np.uint8))
        assert read_lowbits_mark(np.zeros(shape, np.uint8)) is None


@pytest.mark.parametrize("place", range(17))
def test_a_damaged_header_is_no_mark(place: int) -> None:
    data = bytearray(MARK.to_bytes())
    data[place] ^= 4
    assert read_lowbits_mark(marked(bytes(data))) is None


def test_a_damaged_map() -> None:
    data = bytearray(MARK.to_bytes())
    data[-6] ^= 1
    pixels = marked(bytes(data))
    assert has_lowbits_mark(pixels)
    with pytest.raises(DamagedError):
        read_lowbits_mark(pixels)


def test_a_map_of_another_picture() -> None:
    with pytest.raises(DamagedError):
        read_lowbits_mark(marked(MARK.to_bytes(), (40, 100, 3)))


def with_crc16(header: bytes) -> bytes:
    """A header with the CRC-16 that fits."""
    import binascii

    return header + binascii.crc_hqx(header, 0).to_bytes(2, "big")


def test_a_map_longer_than_the_picture_is_refused() -> None:
    data = MARK.to_bytes()
    header = with_crc16(data[:3] + b"\xff\xff\xff\xff" + data[7:15])
    with pytest.raises(DamagedError):
        read_lowbits_mark(marked(header + data[17:]))


def test_a_newer_version_is_refused() -> None:
    data = MARK.to_bytes()
    header = with_crc16(data[:2] + b"\x02" + data[3:15])
    with pytest.raises(UnsupportedVersionError):
        read_lowbits_mark(marked(header + data[17:]))


def test_pictures_of_any_size_may_have_no_mark() -> None:
    for samples in range(1, 400):
        for value in (0, 255):
            pixels = np.full((1, samples), value, np.uint8)
            assert not has_lowbits_mark(pixels)
            assert read_lowbits_mark(pixels) is None
