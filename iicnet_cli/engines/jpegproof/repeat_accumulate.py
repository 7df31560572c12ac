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
_HEAVY_SHARES = (0.3, 0.2)
"""Shares of the message bits that are heavy, for lower and for high rates."""
_HIGH_RATE = 0.7
"""Rates above this one are high."""
_LEAST_RATE = 0.3
"""Codes of lower rates are codes of about ``_REPEATED_RATE`` whose bits are sent several times."""
_REPEATED_RATE = 0.45
_LEAST_CHECKS = 1000
"""Codes with fewer checks have no heavy bits, and share what checks they must."""
_TRIES = 60
"""Choices of checks for a bit before it takes what there is."""
_PAIR_BITS = 26
"""Logarithm of the size of the hash table of pairs of checks."""
_SCALES = ((0.78, 0.44), (0.85, 0.3), (0.9, 0.2))
"""Messages of a check of d bits are multiplied by the first number plus the second over d, for the
minimum overrates them the more the larger the check is. If decoding stops at a few wrong bits that
hold each other up, it is tried again with the next pair."""
_LARGEST_LIKELIHOOD = 30.0
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
        self._sent = length
        if message_bits < _LEAST_RATE * length:
            self._sent = max(message_bits + 1, int(message_bits / _REPEATED_RATE))
        self._graph = _graph(message_bits, self._sent - message_bits)

    def encode(self, message: Bits) -> Bits:
        """The codeword (length,) of a message (message_bits,)."""
        parity = np.empty(self._sent - self.message_bits, np.uint8)
        _accumulate(message, self._graph.starts, self._graph.bits, parity)
        return np.resize(np.concatenate([message, parity]), self.length)

    def decode(self, likelihoods: Floats, iterations: int = 80) -> tuple[Bits, bool]:
        """Decode soft decisions.

        Args:
            likelihoods: log of P(0) / P(1) for each bit, (length,); 0 is an erasure.
            iterations: at most.

        Returns:
            The codeword (length,), and whether all parity checks hold.
        """
        received = np.zeros(self._sent, np.float32)
        for start in range(0, self.length, self._sent):
            again = likelihoods[start : start + self._sent]
            received[: len(again)] += again
        starts, bits = self._graph.starts, self._graph.bits
        received = received.clip(-_LARGEST_LIKELIHOOD, _LARGEST_LIKELIHOOD)
        holds = False
        for scale in _SCALES:
            beliefs = received.copy()
            holds = _propagate(beliefs, self.message_bits, starts, bits, iterations, *scale)
            if holds:
                break
        return np.resize((beliefs < 0).astype(np.uint8), self.length), holds


@lru_cache(maxsize=16)
def _graph(message_bits: int, checks: int) -> Graph:
    """The graph of a code; it depends on nothing but the two numbers.

    Heavy message bits are spread evenly. The light ones choose their checks first, for two of them
    with all their checks in common would be a codeword of weight 2.
    """
    share = _HEAVY_SHARES[message_bits > _HIGH_RATE * (message_bits + checks)]
    heavy = int(message_bits * share) if checks > _LEAST_CHECKS else 0
    is_heavy = np.zeros(message_bits, bool)
    is_heavy[np.arange(heavy) * message_bits // max(1, heavy)] = True
    light = message_bits - heavy
    degree = min(_LIGHT_DEGREE, checks)
    edges = light * degree + heavy * _HEAVY_DEGREE
    slots = (np.arange(edges, dtype=np.int64) % checks).astype(np.int32)
    state = np.uint64(message_bits * 1_000_003 + checks)
    pairs = np.zeros(1 << (_PAIR_BITS - 3) if checks > _LEAST_CHECKS else 1, np.uint8)
    _connect(slots, light * degree, degree, _HEAVY_DEGREE, pairs, state)
    owners = np.concatenate(
        [
            np.repeat(np.flatnonzero(~is_heavy), degree),
            np.repeat(np.flatnonzero(is_heavy), _HEAVY_DEGREE),
        ]
    ).astype(np.int32)
    starts = np.zeros(checks + 1, np.int32)
    np.cumsum(np.bincount(slots, minlength=checks), out=starts[1:])
    return Graph(starts, owners[np.argsort(slots, kind="stable")])


@compiled
def _connect(
    slots: NDArray[np.int32],
    light_edges: int,
    light_degree: int,
    heavy_degree: int,
    pairs: NDArray[np.uint8],
    state: np.uint64,
) -> None:
    """Shuffle the checks ``slots`` of all edges: those of light bits first, bit by bit.

    No bit meets a check twice, and no two light bits share two checks, or neighbours of two checks,
    as far as ``pairs``, a hash table of bits, can tell. Neither holds where tries run out.
    """
    count = len(slots)
    start = 0
    while start < count:
        degree = light_degree if start < light_edges else heavy_degree
        for _ in range(_TRIES):
            for i in range(start, start + degree):
                state ^= state << np.uint64(13)
                state ^= state >> np.uint64(7)
                state ^= state << np.uint64(17)
                j = i + np.int64(state % np.uint64(count - i))
                slots[i], slots[j] = slots[j], slots[i]
            bad = False
            for i in range(start, start + degree):
                for k in range(start, i):
                    bad |= slots[k] == slots[i]
                    if degree == light_degree and len(pairs) > 1 and not bad:
                        bad = _pair_is_taken(pairs, slots[i], slots[k])
            if not bad:
                break
        if degree == light_degree and len(pairs) > 1:
            for i in range(start, start + degree):
                for k in range(start, i):
                    where = _pair_hash((slots[i] >> 1) + 1, (slots[k] >> 1) + 1, len(pairs))
                    pairs[where >> 3] |= np.uint8(1 << (where & 7))
        start += degree


@compiled
def _pair_hash(first: int, second: int, table_bytes: int) -> int:
    low = np.uint64(min(first, second))
    high = np.uint64(max(first, second))
    mixed = (low * np.uint64(0x9E3779B1) + high) * np.uint64(0x9E3779B97F4A7C15)
    return int((mixed >> np.uint64(20)) % np.uint64(8 * table_bytes))


@compiled
def _pair_is_taken(pairs: NDArray[np.uint8], first: int, second: int) -> bool:
    for y in range(-1, 2):
        for x in range(-1, 2):
            where = _pair_hash((first >> 1) + y + 1, (second >> 1) + x + 1, len(pairs))
            if pairs[where >> 3] >> (where & 7) & 1:
                return True
    return False


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
def _all_hold(
    beliefs: Floats, message_bits: int, starts: NDArray[np.int32], bits: NDArray[np.int32]
) -> bool:
    """Whether all parity checks hold."""
    total = False
    for j in range(len(starts) - 1):
        for e in range(starts[j], starts[j + 1]):
            total ^= beliefs[bits[e]] < 0
        if total != (beliefs[message_bits + j] < 0):
            return False
    return True


@compiled
def _list_bits(
    check: int,
    message_bits: int,
    starts: NDArray[np.int32],
    bits: NDArray[np.int32],
    listed: NDArray[np.int64],
) -> int:
    """List the bits of a check, the one or two parity bits last; returns how many there are."""
    degree = 0
    for e in range(starts[check], starts[check + 1]):
        listed[degree] = bits[e]
        degree += 1
    listed[degree] = message_bits + check
    if check == 0:
        return degree + 1
    listed[degree + 1] = message_bits + check - 1
    return degree + 2


@compiled
def _propagate(
    beliefs: Floats,
    message_bits: int,
    starts: NDArray[np.int32],
    bits: NDArray[np.int32],
    iterations: int,
    scale: float,
    scale_over_degree: float,
) -> bool:
    """Belief propagation in place; returns whether all checks hold."""
    checks = len(starts) - 1
    most = 0
    for j in range(checks):
        most = max(most, starts[j + 1] - starts[j])
    variables = np.empty(most + 2, np.int64)
    incoming = np.empty(most + 2, np.float32)
    messages = np.zeros(len(bits) + 2 * checks, np.float32)
    for _ in range(iterations):
        failed = 0
        edge = 0
        for j in range(checks):
            degree = _list_bits(j, message_bits, starts, bits, variables)
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
            factor = np.float32(scale + scale_over_degree / degree)
            lowest *= factor
            second *= factor
            for k in range(degree):
                size = second if k == where else lowest
                message = -size if negative ^ (incoming[k] < 0) else size
                messages[edge + k] = message
                beliefs[variables[k]] = incoming[k] + message
            edge += degree
        if failed == 0 and _all_hold(beliefs, message_bits, starts, bits):
            return True
    return False
