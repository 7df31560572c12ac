"""Trellis-coded quantization of samples that carry a bit and a digit each, at any rate.

A sample with base q carries a digit d, 0 to q - 1, as its value modulo q. The values with this
digit, d, d + q, d + 2 q, ..., have levels 0, 1, 2, ... The two lowest bits of the levels are coded
by Ungerboeck's trellis of ``STATES`` states (1982): the message bits are their syndrome. So a
sample carries 1 + log2(q) bits, and its mean squared error is about q**2 / 4: 1.2 dB less than that
of the nearest value with the same number of plain bits.

As errors are not diffused, the samples of a picture are one sequence, which is cut into segments.
Each begins in state 0, so that all segments are quantized and read at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

STATES = 64
"""The register of the trellis code has this many states."""
COLUMNS = (0o103, 0o024)
"""The parity-check columns of the lowest and the second lowest bit of a level."""
SEGMENT = 1024
"""The register is 0 at the beginning and after every this many samples."""
MAX_BASE = 64
"""Bases go up to this one, at which each coset still has a value among the 256 of a sample."""

_SEGMENTS_AT_ONCE = 256
"""This many segments are quantized at once, which bounds the memory for their decisions."""
_HALF = STATES // 2
_INFINITE = np.float32(1e9)

Bases = Pixels
"""uint8, the base of each sample, 1 to ``MAX_BASE``."""


def expected_mse(base: NDArray[np.integer]) -> NDArray[np.float64]:
    """Approximate mean squared error of samples with these bases, away from 0 and 255.

    In squared 8-bit steps; within 3 % of what was measured for each base.
    """
    return np.square(base.astype(np.float64)) / 4


def levels_and_digits(samples: Pixels, bases: Bases) -> tuple[Pixels, Pixels]:
    """Divide samples by their bases.

    Args:
        samples: uint8, any shape.
        bases: of the same shape.
    """
    levels, digits = np.divmod(samples, bases)
    return levels, digits


def extract_syndrome(levels: Pixels) -> Pixels:
    """Read the message bits of a sequence of samples.

    Args:
        levels: (n,) uint8, of which only the two lowest bits count.

    Returns:
        (n,) uint8, each 0 or 1.
    """
    segments = _to_segments(levels)
    bits = np.zeros_like(segments)
    for place, column in enumerate(COLUMNS):
        coded = segments >> np.uint8(place) & np.uint8(1)
        for delay in range(column.bit_length()):
            if column >> delay & 1:
                bits[:, delay:] ^= coded[:, : SEGMENT - delay]
    return bits.reshape(-1)[: len(levels)]


def quantize(samples: Pixels, bases: Bases, digits: Pixels, bits: Pixels) -> Pixels:
    """Change samples as little as possible so that they carry digits and message bits.

    Args:
        samples: (n,) uint8.
        bases: (n,).
        digits: (n,) uint8, each below its base.
        bits: (n,) uint8, each 0 or 1.

    Returns:
        (n,) uint8, whose digits and syndrome are as given.
    """
    parts = [_to_segments(each) for each in (samples, bases, digits, bits)]
    quantized = np.empty_like(parts[0])
    for start in range(0, len(quantized), _SEGMENTS_AT_ONCE):
        rows = slice(start, start + _SEGMENTS_AT_ONCE)
        # Steps in front: what all segments need at a step then lies together.
        search = _Search(*(np.ascontiguousarray(part[rows].T) for part in parts))
        quantized[rows] = search.quantized.T
    return quantized.reshape(-1)[: len(samples)]


class _Search:
    """The Viterbi algorithm on (T, n) samples: n segments of T steps.

    Attributes:
        quantized: (T, n) uint8.
    """

    def __init__(self, samples: Pixels, bases: Bases, digits: Pixels, bits: Pixels) -> None:
        self._digits = digits
        # Base 0 marks what fills the last segment. Any change of it is free.
        self._weights = (bases > 0).astype(np.float32)
        self._bases = bases = np.maximum(bases, 1)
        self._representative = _coset_representative(bits)
        # Of each coset of levels modulo 4, the value nearest to the sample is one of the four from
        # this level on: those around the sample, or those at an end of 0..255.
        below = np.floor((samples.astype(np.float32) - digits) / bases).astype(np.int16) - 1
        highest = (np.uint8(255) - digits) // bases
        self._lowest_level = np.clip(below, 0, highest.astype(np.int16) - 3).astype(np.uint8)
        self._decisions = np.empty((len(samples), STATES, samples.shape[1]), np.bool_)
        costs = np.full((STATES, samples.shape[1]), _INFINITE, np.float32)
        costs[0] = 0
        for step, errors in enumerate(self._branch_errors(samples)):
            costs = self._advance(costs, errors, self._decisions[step])
        self.quantized = self._trace_back(costs.argmin(axis=0))

    def _branch_errors(self, samples: Pixels) -> Iterator[NDArray[np.float32]]:
        """Yield for each step (4, n): the squared error of each coset, for a message of zeros."""
        wanted = np.arange(4, dtype=np.uint8)[:, None]
        for step, sample in enumerate(samples):
            values = self._values(step, wanted ^ self._representative[step])
            errors = values.astype(np.float32)
            errors -= sample
            errors *= errors
            errors *= self._weights[step]
            yield errors

    def _values(self, step: int, coset: Pixels) -> Pixels:
        """The values of each segment, (..., n), at a step that are nearest to the samples."""
        lowest = self._lowest_level[step]
        levels = lowest + (coset - lowest & np.uint8(3))
        values: Pixels = self._digits[step] + self._bases[step] * levels
        return values

    @staticmethod
    def _advance(
        costs: NDArray[np.float32], errors: NDArray[np.float32], decisions: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Extend the survivors, (S, n), by a step; ``decisions`` tells which branch each took."""
        first: NDArray[np.float32] = costs[_SOURCES[0]]
        second = costs[_SOURCES[1]]
        first[:_HALF] += errors[0]
        first[_HALF:] += errors[1]
        second[:_HALF] += errors[2]
        second[_HALF:] += errors[3]
        np.less(second, first, out=decisions)
        np.minimum(first, second, out=first)
        return first

    def _trace_back(self, states: NDArray[np.intp]) -> Pixels:
        """The samples (T, n) on the paths that end in these states (n,)."""
        quantized = np.empty_like(self._digits)
        columns = np.arange(len(states))
        for step in range(len(quantized) - 1, -1, -1):
            decision = self._decisions[step, states, columns].astype(np.uint8)
            coset = (states >= _HALF).astype(np.uint8) | decision << np.uint8(1)
            quantized[step] = self._values(step, coset ^ self._representative[step])
            states = _SOURCES[decision, states]
        return quantized


def _sources() -> NDArray[np.intp]:
    """(2, S), for each state after a sample the two states before it, for a message of zeros.

    The first of them is left by coset 0 or 1 of the level, the second by that coset plus 2.
    """
    after = np.arange(STATES) * 2
    odd = np.arange(STATES) >= _HALF
    first = after ^ np.where(odd, COLUMNS[0], 0)
    return np.stack([first, first ^ COLUMNS[1]])


_SOURCES = _sources()


def _coset_representative(bits: Pixels) -> Pixels:
    """Cosets (T, n), all of them 0 or 1, whose syndrome is these message bits."""
    cosets = np.empty_like(bits)
    register = np.zeros(bits.shape[1], np.uint8)
    for step, bit in enumerate(bits):
        np.bitwise_and(register ^ bit, 1, out=cosets[step])
        register ^= cosets[step] * np.uint8(COLUMNS[0])
        register >>= 1
    return cosets


def _to_segments(sequence: Pixels) -> Pixels:
    """(n,) as rows of a segment each; zeros fill the last one."""
    return np.pad(sequence, (0, -len(sequence) % SEGMENT)).reshape(-1, SEGMENT)
