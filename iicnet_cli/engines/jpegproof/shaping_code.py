"""Trellis shaping: message bits leave some freedom, which keeps the embedding close to the cover.

Bits are taken in groups. The first bit of a group is free; each other bit is a message bit plus a
convolution of the free bits so far. Of all sequences of free bits the Viterbi algorithm takes the
one whose bits move the coefficients least: Forney, "Trellis shaping", IEEE Trans. Information
Theory, 1992. A receiver adds the convolution again. The bits must be free of errors by then.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.pseudorandom import hash_integers
from iicnet_cli.jit import compiled

Bits = NDArray[np.uint8]
"""Each 0 or 1."""

_MEMORY = 8
"""Earlier free bits that enter the convolutions."""
MOST_GROUP_BITS = 15
"""Bits of a group, at most; at least there are 2."""


@cache
def _patterns(group_bits: int) -> NDArray[np.int32]:
    """The convolutions for each register (2**(memory + 1),), whose lowest bit is the newest.

    Bit 0 of a pattern is the free bit itself.
    """
    registers = np.arange(2 << _MEMORY)
    taps = hash_integers(np.arange(1, group_bits), 77).astype(np.int64) % (2 << _MEMORY)
    patterns = registers & 1
    for index, tap in enumerate(taps | 1 | 1 << _MEMORY, start=1):
        patterns |= (np.bitwise_count(registers & tap).astype(np.int64) & 1) << index
    return patterns.astype(np.int32)


def shape(message: Bits, costs: NDArray[np.float32], group_bits: int) -> Bits:
    """Choose the free bits of all groups.

    Args:
        message: (groups, group_bits - 1).
        costs: (groups, group_bits), what a 1 instead of a 0 costs.
        group_bits: 2 to ``MOST_GROUP_BITS``.

    Returns:
        (groups, group_bits) bits.
    """
    groups = len(message)
    wanted = np.zeros(groups, np.int32)
    for index in range(1, group_bits):
        wanted |= message[:, index - 1].astype(np.int32) << index
    patterns = _patterns(group_bits)
    free = np.empty(groups, np.uint8)
    _viterbi(wanted, np.ascontiguousarray(costs, np.float32), patterns, free)
    values = wanted ^ patterns[_registers(free)]
    return (values[:, None] >> np.arange(group_bits) & 1).astype(np.uint8)


def extract(bits: Bits, group_bits: int) -> Bits:
    """The message (groups, group_bits - 1) of bits (groups, group_bits)."""
    patterns = _patterns(group_bits)[_registers(bits[:, 0])]
    return bits[:, 1:] ^ (patterns[:, None] >> np.arange(1, group_bits) & 1).astype(np.uint8)


def _registers(free: Bits) -> NDArray[np.int32]:
    """The newest free bits at each group, the newest lowest."""
    padded = np.concatenate([np.zeros(_MEMORY, np.int32), free.astype(np.int32)])
    registers = np.zeros(len(free), np.int32)
    for age in range(_MEMORY + 1):
        registers |= padded[_MEMORY - age : len(padded) - age] << age
    return registers


@compiled
def _viterbi(
    wanted: NDArray[np.int32],
    costs: NDArray[np.float32],
    patterns: NDArray[np.int32],
    free: Bits,
) -> None:
    groups, group_bits = costs.shape
    registers = len(patterns)
    states = registers // 2
    decisions = np.empty((groups, states), np.uint8)
    totals = np.full(states, np.float32(1e30))
    totals[0] = 0
    after = np.empty(states, np.float32)
    group_costs = np.empty(1 << group_bits, np.float32)
    for group in range(groups):
        group_costs[0] = 0
        for index in range(group_bits):
            size = 1 << index
            for value in range(size):
                group_costs[size + value] = group_costs[value] + costs[group, index]
        want = wanted[group]
        for state in range(states):  # the register without its oldest bit
            young = totals[state >> 1] + group_costs[want ^ patterns[state]]
            old = totals[(state >> 1) + states // 2] + group_costs[want ^ patterns[state + states]]
            decisions[group, state] = old < young
            after[state] = min(young, old)
        lowest = after.min()
        for state in range(states):
            totals[state] = after[state] - lowest
    last = np.int64(np.argmin(totals))
    for group in range(groups - 1, -1, -1):
        free[group] = last & 1
        last = (last >> 1) + decisions[group, last] * (states // 2)
