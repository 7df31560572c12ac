"""Error correction: irregular repeat-accumulate codes of any length and rate.

Each message bit takes part in some parity checks (it is repeated), and each parity bit is the sum
of its check and of the parity bit before (accumulated), so that encoding is one pass over the
edges: Jin, Khandekar and McEliece, "Irregular repeat-accumulate codes", 2000; DVB-S2 uses such
codes. Decoding is belief propagation with soft decisions, check by check (layered), with the
normalized min-sum rule: Chen and Fossorier, 2002.

The packages that exist (``ldpc``) decode a given matrix, but make and encode none, and bring along
plotting and quantum simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.jit import compiled

Bits = NDArray[np.uint8]
"""Each 0 or 1."""
Floats = NDArray[np.float32]

_LIGHT_DEGREE = 3
"""Checks that most message bits take part in."""
_HEAVY_DEGREE = 9
"""Checks that some message bits take part in: they are decoded first and help the others."""
_HEAVY_SHARE = 0.2
"""Share of the message bits that are heavy."""
_SCALE = 0.8
"""Messages of checks are multiplied by this, for the minimum overrates them."""
_LARGEST_MESSAGE = 30.0
"""Log-likelihood ratios are clipped to this."""


@dataclass(frozen=True)
class Graph:
    """The parity checks of a code; those of check j are ``bits[starts[j] : starts[j + 1]]``.

    Attributes:
        starts: (checks + 1,).
        bits: indices of message bits, one for each edge.
    """

    starts: NDArray[np.int32]
    bits: NDArray[np.int32]


class RepeatAccumulateCode:
    """A code of ``length`` bits for ``message_bits`` bits; the message comes first."""

    def __init__(self, message_bits: int, length: int) -> None:
        """
        Args:
            message_bits: at least 1.
            length: more than ``message_bits``.
        """
        if not 0 < message_bits < length:
            raise ValueError(f"no code of {message_bits} in {length} bits")
        self.message_bits = message_bits
        self.length = length
        self._graph = _graph(message_bits, length - message_bits)

    def encode(self, message: Bits) -> Bits:
        """The codeword (length,) of a message (message_bits,)."""
        parity = np.empty(self.length - self.message_bits, np.uint8)
        _accumulate(message, self._graph.starts, self._graph.bits, parity)
        return np.concatenate([message, parity])

    def decode(self, likelihoods: Floats, iterations: int = 60) -> tuple[Bits, bool]:
        """Decode soft decisions.

        Args:
            likelihoods: log of P(0) / P(1) for each bit, (length,); 0 is an erasure.
            iterations: at most.

        Returns:
            The codeword (length,), and whether all parity checks hold.
        """
        beliefs = np.clip(likelihoods, -_LARGEST_MESSAGE, _LARGEST_MESSAGE).astype(np.float32)
        graph = self._graph
        holds = _propagate(beliefs, self.message_bits, graph.starts, graph.bits, iterations, _SCALE)
        return (beliefs < 0).astype(np.uint8), holds


@lru_cache(maxsize=16)
def _graph(message_bits: int, checks: int) -> Graph:
    """The graph of a code; it depends on nothing but the two numbers."""
    heavy = int(message_bits * _HEAVY_SHARE) if checks > _HEAVY_DEGREE else 0
    degrees = np.full(message_bits, min(_LIGHT_DEGREE, checks), np.int32)
    if heavy:
        degrees[np.arange(heavy) * message_bits // heavy] = _HEAVY_DEGREE
    ends = np.cumsum(degrees).astype(np.int32)
    slots = (np.arange(ends[-1], dtype=np.int64) % checks).astype(np.int32)
    _connect(ends, slots, np.uint64(message_bits * 1_000_003 + checks))
    owners = np.repeat(np.arange(message_bits, dtype=np.int32), degrees)
    starts = np.zeros(checks + 1, np.int32)
    np.cumsum(np.bincount(slots, minlength=checks), out=starts[1:])
    return Graph(starts, owners[np.argsort(slots, kind="stable")])


@compiled
def _connect(ends: NDArray[np.int32], slots: NDArray[np.int32], state: np.uint64) -> None:
    """Shuffle the checks ``slots`` of all edges so that no bit meets a check twice."""
    count = len(slots)
    for i in range(count - 1, 0, -1):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        j = np.int64(state % np.uint64(i + 1))
        slots[i], slots[j] = slots[j], slots[i]
    start = 0
    for end in ends:
        for i in range(start, end):
            for _ in range(100):
                twice = False
                for k in range(start, i):
                    twice |= slots[k] == slots[i]
                if not twice:
                    break
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                j = np.int64(state % np.uint64(count))
                if j < start or j >= end:  # what another bit gets in exchange may be double there
                    slots[i], slots[j] = slots[j], slots[i]
        start = end


@compiled
def _accumulate(
    message: Bits, starts: NDArray[np.int32], bits: NDArray[np.int32], parity: Bits
) -> None:
    total = np.uint8(0)
    for j in range(len(parity)):
        for e in range(starts[j], starts[j + 1]):
            total ^= message[bits[e]]
        parity[j] = total


@compiled
def _propagate(
    beliefs: Floats,
    message_bits: int,
    starts: NDArray[np.int32],
    bits: NDArray[np.int32],
    iterations: int,
    scale: float,
) -> bool:
    """Belief propagation in place; returns whether all checks hold."""
    checks = len(starts) - 1
    most = 0
    for j in range(checks):
        most = max(most, starts[j + 1] - starts[j])
    variables = np.empty(most + 2, np.int64)
    incoming = np.empty(most + 2, np.float32)
    messages = np.zeros(len(bits) + 2 * checks, np.float32)
    factor = np.float32(scale)
    for _ in range(iterations):
        failed = 0
        edge = 0
        for j in range(checks):
            degree = 0
            for e in range(starts[j], starts[j + 1]):
                variables[degree] = bits[e]
                degree += 1
            variables[degree] = message_bits + j
            degree += 1
            if j > 0:
                variables[degree] = message_bits + j - 1
                degree += 1
            lowest = np.float32(1e9)
            second = np.float32(1e9)
            where = -1
            negative = False
            hard = False
            for k in range(degree):
                belief = beliefs[variables[k]]
                hard ^= belief < 0
                value = belief - messages[edge + k]
                incoming[k] = value
                negative ^= value < 0
                size = abs(value)
                if size < lowest:
                    second = lowest
                    lowest = size
                    where = k
                elif size < second:
                    second = size
            failed += hard
            lowest *= factor
            second *= factor
            for k in range(degree):
                size = second if k == where else lowest
                message = -size if negative ^ (incoming[k] < 0) else size
                messages[edge + k] = message
                beliefs[variables[k]] = incoming[k] + message
            edge += degree
        if failed == 0:
            return True
    return False
