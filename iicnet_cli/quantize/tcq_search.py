"""Quantization by the trellis of `tcq.py`: the nearest samples that carry given digits and bits.

The Viterbi algorithm keeps, for each state of the register, the best sequence of samples that leads
to it. Segments do not depend on each other, so many are searched side by side, each in a lane.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.jit import available_threads, compiled
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import COLUMNS, SEGMENT, STATES, Bases, to_segments

_LANES = 64
"""This many segments are searched side by side."""
_MAX_WORKERS = 16
"""At most this many threads search, for each keeps 16 MiB of decisions."""
_HALF = STATES // 2
_FIRST_COLUMN, _SECOND_COLUMN = COLUMNS
_UNREACHED = np.float32(1e9)
"""The cost of states that no sequence leads to; the squared errors of a segment are below it."""


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
    # Where the last segment is filled up, the base is 0.
    parts = [to_segments(each) for each in (samples, bases, digits, bits)]
    quantized = np.empty_like(parts[0])
    starts = range(0, len(quantized), _LANES)
    workers = min(available_threads(), _MAX_WORKERS, len(starts))

    def work(worker: int) -> None:
        decisions = np.empty((SEGMENT, STATES, min(_LANES, len(quantized))), np.bool_)
        for start in starts[worker::workers]:
            rows = slice(start, start + _LANES)
            lanes = (np.ascontiguousarray(part[rows].T) for part in parts)
            quantized[rows] = _search(decisions, *lanes).T

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for _ in pool.map(work, range(workers)):
            pass
    return quantized.reshape(-1)[: len(samples)]


@compiled
def _search(
    decisions: NDArray[np.bool_], samples: Pixels, bases: Bases, digits: Pixels, bits: Pixels
) -> Pixels:
    """Quantize (T, n) samples: n segments of T steps.

    Args:
        decisions: (T, S, n or more), memory to work in.
        samples: what is to be quantized.
        bases: of the same shape; 0 where any change is free.
        digits: of the same shape.
        bits: of the same shape.
    """
    steps, lanes = samples.shape
    lowest_levels = np.empty((steps, lanes), np.uint8)
    representative = np.empty((steps, lanes), np.uint8)
    registers = np.zeros(lanes, np.int64)
    errors = np.empty((4, lanes), np.float32)
    costs = np.full((STATES, lanes), _UNREACHED)
    costs_after = np.empty((STATES, lanes), np.float32)
    costs[0] = 0
    for step in range(steps):
        for lane in range(lanes):
            # One choice of many of bits with the message as their syndrome.
            bit = registers[lane] & 1 ^ bits[step, lane]
            representative[step, lane] = bit
            registers[lane] = (registers[lane] ^ bit * _FIRST_COLUMN) >> 1
            sample, digit = int(samples[step, lane]), int(digits[step, lane])
            base = max(int(bases[step, lane]), 1)
            # Of the values with each coset of levels modulo 4, the one nearest to the sample is
            # among the four from this level on: those around it, or those at an end of 0..255.
            lowest = min(max((sample - digit) // base - 1, 0), (255 - digit) // base - 3)
            lowest_levels[step, lane] = lowest
            for level in range(lowest, lowest + 4):
                error = (digit + base * level - sample) * min(bases[step, lane], 1)
                errors[level & 3 ^ bit, lane] = error * error
        _advance(costs, costs_after, errors, decisions[step])
        costs, costs_after = costs_after, costs
    states = np.zeros(lanes, np.int64)
    for lane in range(lanes):
        states[lane] = np.argmin(costs[:, lane])
    quantized = np.empty((steps, lanes), np.uint8)
    for step in range(steps - 1, -1, -1):
        for lane in range(lanes):
            # The way into a state: the low bit of the level, and which of two branches.
            state = states[lane]
            odd, second = int(state >= _HALF), int(decisions[step, state, lane])
            lowest = int(lowest_levels[step, lane])
            coset = odd + 2 * second ^ int(representative[step, lane])
            level = lowest + (coset - lowest & 3)
            quantized[step, lane] = digits[step, lane] + max(bases[step, lane], 1) * level
            states[lane] = 2 * state ^ odd * _FIRST_COLUMN ^ second * _SECOND_COLUMN
    return quantized


@compiled
def _advance(
    costs: NDArray[np.float32],
    costs_after: NDArray[np.float32],
    errors: NDArray[np.float32],
    decisions: NDArray[np.bool_],
) -> None:
    """Extend the sequences by a step, for a message of zeros.

    Args:
        costs: (S, n), the squared errors of the best sequences to all states.
        costs_after: (S, n), the same after the step.
        errors: (4, n), those of a sample with each coset.
        decisions: (S, n or more), which of the two ways into each state is the better one.
    """
    lanes = costs.shape[1]
    for state in range(STATES):
        odd = int(state >= _HALF)
        source = 2 * state ^ odd * _FIRST_COLUMN
        first, first_errors = costs[source], errors[odd]
        second, second_errors = costs[source ^ _SECOND_COLUMN], errors[odd + 2]
        best, decision = costs_after[state], decisions[state]
        # Two loops, for the compiler makes vector instructions only of short ones.
        for lane in range(lanes):
            best[lane] = min(first[lane] + first_errors[lane], second[lane] + second_errors[lane])
        for lane in range(lanes):
            decision[lane] = best[lane] != first[lane] + first_errors[lane]
