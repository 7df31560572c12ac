"""Bytes in the low bits of a picture.

::

    reference, bytes --write--> pixels --read--> bytes

The reference is changed as little as possible. Any change of the pixels is noticed when they are
read, and none can be repaired.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

from iicnet_cli.container.embedding_file import has_equal_channels
from iicnet_cli.engines.lowbits.rates import RateAllocation
from iicnet_cli.errors import DamagedError, NotAnEmbeddingError, UsageError
from iicnet_cli.payload.lowbits_mark import LowBitsMark, mark_positions, read_lowbits_mark
from iicnet_cli.payload.lowbits_payload import capacity_bits, read_payload, write_payload
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import mse, mse_to_psnr, psnr_to_mse

_LEAST_RISE = 64
"""Where the mark takes room from the payload, the rate map is made for this many bits more."""

_TRIES = 2
"""The capacity is measured so often."""
_CORRECTION = 1.25
"""The expected error is corrected by at most this factor at once."""


def capacity(reference: Pixels, psnr: float) -> int:
    """How many bytes a picture carries when it is changed by so many dB.

    Args:
        reference: (H, W) or (H, W, C) uint8.
        psnr: of the written pixels beside the reference, in dB.
    """
    return _size_at(RateAllocation.of(reference), psnr_to_mse(psnr))


def measured_capacity(reference: Pixels, psnr: float) -> int:
    """How many bytes a picture carries, as :func:`capacity`, but to a hundredth of a dB.

    The expected error is a few percent off, most of all near 0 and 255, so it is corrected by
    writing random bytes. That loads Numba.
    """
    allocation = RateAllocation.of(reference)
    wanted = expected = psnr_to_mse(psnr)
    size = _size_at(allocation, expected)
    for _ in range(_TRIES):
        if size == 0:
            break
        error = mse(write(reference, np.random.default_rng(0).bytes(size)), reference)
        expected *= min(max(wanted / error, 1 / _CORRECTION), _CORRECTION) if error else 1.0
        size = _size_at(allocation, expected)
    return size


def _size_at(allocation: RateAllocation, error: float) -> int:
    """How many bytes fit at an expected mean squared error."""
    bits = allocation.bits_at(error)
    try:
        bases, _ = _carriers(LowBitsMark(allocation.rate_map(bits), 0, 0), allocation.shape)
    except UsageError:
        return 0
    return capacity_bits(bases) // 8


def expected_psnr(reference: Pixels, size: int) -> float:
    """The PSNR in dB that :func:`write` leaves when it puts this many bytes into a picture.

    Raises:
        UsageError: the picture is too small for them.
    """
    allocation = RateAllocation.of(reference)
    return mse_to_psnr(allocation.mse_at(_bits_for(allocation, size)))


def write(reference: Pixels, data: bytes) -> Pixels:
    """Put bytes into the low bits of a picture.

    Args:
        reference: (H, W) or (H, W, C) uint8.
        data: any bytes, fewer than 2**32.

    Returns:
        Pixels of the same shape.

    Raises:
        UsageError: the picture is too small for them.
    """
    allocation = RateAllocation.of(reference)
    rate_map = allocation.rate_map(_bits_for(allocation, len(data)))
    mark = LowBitsMark(rate_map, len(data), zlib.crc32(data))
    bases, mark_bits = _carriers(mark, reference.shape)
    pixels = write_payload(reference.reshape(-1), bases, data)
    positions = mark_positions(reference.size, len(mark_bits) // 8)
    pixels[positions] = reference.reshape(-1)[positions] & 0xFE | mark_bits
    return pixels.reshape(reference.shape)


def read(pixels: Pixels) -> bytes:
    """Read the bytes that :func:`write` put into a picture.

    Raises:
        NotAnEmbeddingError: there is no mark of this engine.
        DamagedError: the pixels were altered.
        UnsupportedVersionError: they were written by a newer program.
    """
    found = read_lowbits_mark(pixels)
    if found is None and pixels.ndim == 3 and has_equal_channels(pixels):
        # Another tool saved a grey picture as RGB.
        pixels = np.ascontiguousarray(pixels[..., 0])
        found = read_lowbits_mark(pixels)
    if found is None:
        raise NotAnEmbeddingError("the pixels carry no file, or they were altered")
    mark, mark_size = found
    bases = mark.rate_map.sample_bases(pixels.shape)
    bases[mark_positions(pixels.size, mark_size)] = 0
    data = read_payload(pixels.reshape(-1), bases, mark.size)
    if data is None or zlib.crc32(data) != mark.crc:
        raise DamagedError("the file in the low bits is damaged: the pixels were altered")
    return data


def _bits_for(allocation: RateAllocation, size: int) -> float:
    """The number of bits for which the rate map has to be made so that a payload fits.

    Raises:
        UsageError: it does not fit at all.
    """
    bits = 8.0 * size
    while True:
        mark = LowBitsMark(allocation.rate_map(bits), size, 0)
        missing = 8 * size - capacity_bits(_carriers(mark, allocation.shape)[0])
        if missing <= 0:
            return bits
        if bits > allocation.bits[-1]:
            raise UsageError(
                f"{size} bytes do not fit into {math.prod(allocation.shape)} samples",
                hint="take a larger picture, or hide less in it",
            )
        bits += max(missing, _LEAST_RISE)


def _carriers(mark: LowBitsMark, shape: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """The base of each sample for a mark, 0 where it lies itself; and the bits of the mark."""
    data = mark.to_bytes()
    bases = mark.rate_map.sample_bases(shape)
    try:
        bases[mark_positions(len(bases), len(data))] = 0
    except ValueError as error:
        raise UsageError(str(error), hint="take a larger picture") from error
    return bases, np.unpackbits(np.frombuffer(data, np.uint8))
