"""The mark: 96 bits in a strong code, repeated over the picture, that say how to read the payload.

A convolutional code of rate 1/3 with 256 states (generators 557, 663, 711 octal; Larsen, 1973)
carries them, decoded with soft decisions.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.cell_layout import VERSIONS
from iicnet_cli.engines.jpegproof.dct_blocks import Floats
from iicnet_cli.jit import compiled

_GENERATORS = (0o557, 0o663, 0o711)
_MEMORY = 8
_INFO_BITS = 96
MOST_BLOCKS = (1 << 12) - 1
"""Rows or columns of blocks that a mark can say."""
MOST_BYTES = (1 << 24) - 1
"""Bytes of a payload that a mark can say."""
MARK_LENGTH = len(_GENERATORS) * (_INFO_BITS + _MEMORY)
"""Bits of the coded mark."""
RATE_UNITS = 64
"""Rates of the upper stages are multiples of one over this."""

Bits = NDArray[np.uint8]
"""Each 0 or 1."""


@dataclasses.dataclass(frozen=True)
class RobustMark:
    """What a reader must know.

    Attributes:
        lattice: number of the lattice, 0 to 7; 0 to 15 in version 1.
        rows: blocks of the whole picture, at most ``MOST_BLOCKS``.
        columns: likewise.
        payload_bytes: of the payload, without its check sum, at most ``MOST_BYTES``.
        upper_rates: message bits of the second and third bits of the coefficients, in units of
            1 / ``RATE_UNITS`` of their cells; 0 to 63.
        group_bits: of the shaping code, 2 to 15.
        has_small_version: whether there is a small version, coded more strongly.
        version: of the mark.
    """

    lattice: int
    rows: int
    columns: int
    payload_bytes: int
    upper_rates: tuple[int, int]
    group_bits: int
    has_small_version: bool = False
    version: int = VERSIONS[0]

    def encode(self) -> Bits:
        """(``MARK_LENGTH``,) coded bits."""
        number = self.version
        lattice: tuple[tuple[int, int], ...] = ((self.lattice, 4),)
        if self.version > 1:
            lattice = (int(self.has_small_version), 1), (self.lattice, 3)
        for value, bits in (
            *lattice,
            (self.rows, 12),
            (self.columns, 12),
            (self.payload_bytes, 24),
            (self.upper_rates[0], 6),
            (self.upper_rates[1], 6),
            (self.group_bits, 4),
        ):
            if not 0 <= value < 1 << bits:
                raise ValueError(f"{self} does not fit the mark")
            number = number << bits | value
        body = number.to_bytes(9, "big")
        info = np.unpackbits(np.frombuffer(body + _check(body), np.uint8))
        padded = np.concatenate([np.zeros(_MEMORY, np.uint8), info, np.zeros(_MEMORY, np.uint8)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, _MEMORY + 1)
        registers = windows @ (1 << np.arange(_MEMORY, -1, -1))
        return np.stack([_parity(registers & g) for g in _GENERATORS], axis=1).reshape(-1)

    @classmethod
    def decode(cls, likelihoods: Floats) -> RobustMark | None:
        """The mark, or ``None`` if there is none or it is of another version.

        Args:
            likelihoods: (``MARK_LENGTH``,), log of P(0) / P(1) for each coded bit.
        """
        registers = np.arange(2 << _MEMORY)
        outputs = np.stack([_parity(registers & g) for g in _GENERATORS], axis=1)
        steps = likelihoods.reshape(-1, len(_GENERATORS)).astype(np.float32)
        info = np.empty(len(steps), np.uint8)
        _viterbi(np.ascontiguousarray(steps @ (1.0 - 2.0 * outputs.T), np.float32), info)
        data = np.packbits(info[:_INFO_BITS]).tobytes()
        body, check = data[:9], data[9:]
        if check != _check(body):
            return None
        number = int.from_bytes(body, "big")
        values = []
        for bits in (4, 6, 6, 24, 12, 12, 4):
            values.append(number & (1 << bits) - 1)
            number >>= bits
        group_bits, third, second, payload_bytes, columns, rows, lattice = values
        if number not in VERSIONS or group_bits < 2:
            return None
        has_small_version = 0
        if number > 1:
            has_small_version, lattice = divmod(lattice, 8)
        return cls(
            lattice=lattice,
            rows=rows,
            columns=columns,
            payload_bytes=payload_bytes,
            upper_rates=(second, third),
            group_bits=group_bits,
            has_small_version=bool(has_small_version),
            version=number,
        )


def _check(body: bytes) -> bytes:
    """Three bytes of check sum."""
    return struct.pack(">I", zlib.crc32(b"iicnet" + body))[1:]


def _parity(values: NDArray[np.integer]) -> Bits:
    return np.asarray(np.bitwise_count(values) & 1, np.uint8)


@compiled
def _viterbi(metrics: NDArray[np.float32], info: Bits) -> None:
    """The best input bits; ``metrics`` (steps, registers) grow with how well a register fits."""
    steps, registers = metrics.shape
    states = registers // 2
    decisions = np.empty((steps, states), np.uint8)
    totals = np.full(states, np.float32(-1e9))
    totals[0] = 0
    after = np.empty(states, np.float32)
    for step in range(steps):
        for state in range(states):
            young = totals[state >> 1] + metrics[step, state]
            old = totals[(state >> 1) + states // 2] + metrics[step, state + states]
            decisions[step, state] = old > young
            after[state] = max(young, old)
        totals[:] = after
    state = 0
    for step in range(steps - 1, -1, -1):
        info[step] = state & 1
        state = (state >> 1) + decisions[step, state] * (states // 2)
