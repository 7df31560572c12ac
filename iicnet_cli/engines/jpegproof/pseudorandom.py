"""Pseudo-random numbers that are the same for ever: they are part of the format.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
the generators of NumPy may change between versions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hash_integers(values: NDArray[np.integer], seed: int) -> NDArray[np.uint64]:
    """A well-mixed 64-bit number for each value (>= 0) and seed (0 to 2**31); any shape."""
    state = (values.astype(np.uint64) + np.uint64(seed << 32)) * _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def random_bits(count: int, seed: int) -> NDArray[np.uint8]:
    """``count`` bits, each 0 or 1."""
    return (hash_integers(np.arange(count), seed) >> np.uint64(63)).astype(np.uint8)


def random_order(count: int, seed: int) -> NDArray[np.intp]:
    """The numbers from 0 to ``count`` - 1 in a random order."""
    return np.argsort(hash_integers(np.arange(count), seed), kind="stable")
