"""payload/digits.py: message bits as digits of any base."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.payload.digits import bits_in, block_size, from_digits, to_digits


@pytest.mark.parametrize(
    ("base", "size"), [(2, (1, 1)), (3, (12, 19)), (4, (1, 2)), (5, (25, 58)), (6, (12, 31))]
)
def test_block_size(base: int, size: tuple[int, int]) -> None:
    assert block_size(base) == size


@pytest.mark.parametrize("base", range(2, 65))
def test_bits_come_back(base: int) -> None:
    digits_of_block, bits_of_block = block_size(base)
    assert 2**bits_of_block <= base**digits_of_block < 2**64
    assert bits_of_block / digits_of_block > 0.986 * np.log2(base)
    rng = np.random.default_rng(base)
    count = 5 * digits_of_block + rng.integers(0, digits_of_block)
    bits = rng.integers(0, 2, bits_in(count, base), dtype=np.uint8)
    digits = to_digits(bits, count, base)
    assert len(digits) == count
    assert digits.max() < base
    assert np.array_equal(from_digits(digits, base), bits)


def test_the_highest_numbers_of_a_block() -> None:
    for base in (3, 7, 64):
        bits = np.ones(block_size(base)[1], np.uint8)
        digits = to_digits(bits, block_size(base)[0], base)
        number = sum(int(digit) * base**i for i, digit in enumerate(digits))
        assert number == 2 ** len(bits) - 1
        assert np.array_equal(from_digits(digits, base), bits)
        # No digits are an error: those of too high a number give some bits.
        assert len(from_digits(np.full_like(digits, base - 1), base)) == len(bits)


def test_no_whole_block() -> None:
    assert to_digits(np.zeros(0, np.uint8), 4, 3).tolist() == [0, 0, 0, 0]
    assert len(from_digits(np.ones(4, np.uint8), 3)) == 0
