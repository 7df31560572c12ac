"""Numbers that must never change, for files depend on them."""

from __future__ import annotations

import numpy as np

from iicnet_cli.engines.jpegproof.pseudorandom import hash_integers, random_bits, random_order


def test_numbers_are_those_of_splitmix() -> None:
    # SplitMix64 with the seed 0 hashes the multiples of its constant, from the first one on.
    assert [int(x) for x in hash_integers(np.array([1, 2]), 0)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
    ]


def test_bits_and_order() -> None:
    bits = random_bits(10_000, 3)
    assert set(bits.tolist()) == {0, 1}
    assert 4800 < bits.sum() < 5200
    assert sorted(random_order(1000, 3)) == list(range(1000))
    assert not np.array_equal(random_order(1000, 3), random_order(1000, 4))
