"""Message bits as digits of any base.

Bits are taken in blocks: as many bits as a number of digits can hold. :func:`block_size` says how
many of both.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from iicnet_cli.pictures.arrays import Pixels

_MAX_BLOCK = 63
"""A block has at most this many digits and bits, so that it is a 64-bit number."""


@cache
def block_size(base: int) -> tuple[int, int]:
    """The number of digits of a base, and of whole bits in them, that wastes least.

    Both are at most 63; of several pairs that are equally good this is the shortest.
    """
    best = (1, 0)
    for digits in range(1, _MAX_BLOCK + 1):
        bits = (base**digits).bit_length() - 1
        if bits > _MAX_BLOCK:
            break
        if bits * best[0] > best[1] * digits:
            best = (digits, bits)
    return best


def bits_in(digits: int, base: int) -> int:
    """How many bits this many digits hold in whole blocks."""
    block_digits, block_bits = block_size(base)
    return digits // block_digits * block_bits


def to_digits(bits: Pixels, count: int, base: int) -> Pixels:
    """Turn bits into digits.

    Args:
        bits: uint8, each 0 or 1, as many as :func:`bits_in` of ``count`` says.
        count: number of digits; those behind the last whole block are 0.
        base: 2 to 255.

    Returns:
        (count,) uint8, the lowest digit of each block first.
    """
    block_digits, block_bits = block_size(base)
    blocks = bits.reshape(-1, block_bits)
    padded = np.zeros((len(blocks), 64), np.uint8)
    padded[:, 64 - block_bits :] = blocks
    numbers = np.packbits(padded, axis=1).view(">u8")[:, 0].astype(np.uint64)
    digits = np.zeros(count, np.uint8)
    columns = digits[: len(blocks) * block_digits].reshape(-1, block_digits)
    for i in range(block_digits):
        numbers, columns[:, i] = np.divmod(numbers, np.uint64(base))
    return digits


def from_digits(digits: Pixels, base: int) -> Pixels:
    """Inverse of :func:`to_digits`: the bits of all whole blocks."""
    block_digits, block_bits = block_size(base)
    blocks = digits[: len(digits) // block_digits * block_digits].reshape(-1, block_digits)
    numbers = np.zeros(len(blocks), np.uint64)
    for column in blocks.T[::-1]:
        numbers *= np.uint64(base)
        numbers += column
    bits = np.unpackbits(numbers.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return bits[:, 64 - block_bits :].reshape(-1)
