"""Syndrome-trellis codes: message bits that a whole row of samples carries together.

A message bit need not be the low bit of one sample. Here the message is the syndrome of the low
bits of a row (Filler, Judas and Fridrich, 2011). Each low bit that is 1 adds its parity-check
column to a register (exclusive or). The register is shifted once for each message bit, and the bit
that falls out is that message bit. So many choices of low bits carry the same message, and
`viterbi.py` looks for the one with the least quantization error. Where the two lowest bits of a
sample have columns, the code is a trellis-coded quantizer (Ungerboeck, 1982).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels


@dataclass(frozen=True)
class CodedSample:
    """How one sample of a pixel takes part in a code.

    Attributes:
        columns: parity-check columns of its one or two coded low bits, the lower bit first. The
            first column is odd if the sample yields a message bit.
        message_bits: how many message bits the sample yields. 0: none. 1: the bit that falls out
            of the register. 2: that bit and the sample's lowest bit, which then has no column.
    """

    columns: tuple[int, ...]
    message_bits: int

    @property
    def plain_bits(self) -> int:
        """How many low bits are message bits themselves, below those with columns."""
        return max(0, self.message_bits - 1)

    @property
    def low_bits(self) -> int:
        """How many low bits of the sample matter to the code."""
        return self.plain_bits + len(self.columns)

    def syndrome(self, low: int) -> int:
        """What the sample adds to the register if these are its low bits."""
        total = 0
        for i, column in enumerate(self.columns, self.plain_bits):
            total ^= column * (low >> i & 1)
        return total

    @cached_property
    def syndromes(self) -> Pixels:
        """``syndrome`` of all values of the low bits, as a table."""
        return np.array([self.syndrome(low) for low in range(1 << self.low_bits)], np.uint8)


@dataclass(frozen=True)
class TrellisSection:
    """The branches of the trellis at one sample, for one value of its message bit.

    Attributes:
        sources: (J, S), for each of S states after the sample the J states before it.
        lows: (J, S) uint8, the low bits of the sample on each of these branches.
    """

    sources: NDArray[np.intp]
    lows: Pixels


@dataclass(frozen=True)
class TrellisCode:
    """A code for pixels of three samples; pixels of one sample use the last of the three.

    Attributes:
        samples: of a pixel.
        states: of the register before and after each pixel.
    """

    samples: tuple[CodedSample, CodedSample, CodedSample]
    states: int

    def message_bits(self, channels: int) -> list[int]:
        """How many message bits each sample of a pixel yields."""
        return [sample.message_bits for sample in self.samples[-channels:]]

    def expected_mse(self, channels: int) -> float:
        """Approximate mean squared error of quantizing with this code, in squared 8-bit steps.

        It is 1/12 without a message, and four times as much for each message bit to a sample. The
        real error is about 20 % less without error diffusion, and up to 50 % more with it.
        """
        return 4 ** (sum(self.message_bits(channels)) / channels) / 12

    def sections(self, channels: int, bit: int) -> list[TrellisSection]:
        """The trellis of a pixel, sample by sample.

        Args:
            channels: of the pixel.
            bit: falls out of the register at each sample that yields a message bit.
        """
        states = self.states
        sections = []
        for sample in self.samples[-channels:]:
            branches: dict[int, list[tuple[int, int]]] = {}
            for state, low in product(range(states), range(1 << len(sample.columns))):
                low <<= sample.plain_bits
                after = state ^ sample.syndrome(low)
                if sample.message_bits:
                    if after & 1 != bit:
                        continue
                    after >>= 1
                branches.setdefault(after, []).append((state, low))
            states = len(branches)
            table = np.array([branches[state] for state in range(states)])
            sections.append(TrellisSection(table[..., 0].T, table[..., 1].T.astype(np.uint8)))
        return sections


_UNGERBOECK_8 = (0o13, 0o04)  # the columns of Ungerboeck's code of eight states
_ONE_BIT, _TWO_BITS = CodedSample(_UNGERBOECK_8, 1), CodedSample(_UNGERBOECK_8, 2)

TRELLIS_CODES = {
    1: TrellisCode((CodedSample((9,), 0), CodedSample((15,), 0), CodedSample((11,), 1)), 8),
    2: TrellisCode((CodedSample((7,), 0), CodedSample((5,), 1), CodedSample((7,), 1)), 4),
    3: TrellisCode((_ONE_BIT, _ONE_BIT, _ONE_BIT), 8),
    4: TrellisCode((_ONE_BIT, _ONE_BIT, _TWO_BITS), 8),
    5: TrellisCode((_ONE_BIT, _TWO_BITS, _TWO_BITS), 8),
    6: TrellisCode((_TWO_BITS, _TWO_BITS, _TWO_BITS), 8),
}
"""The codes, by their number of message bits to a pixel of three samples."""


def extract_message(code: TrellisCode, pixels: Pixels, coded: NDArray[np.bool_]) -> Pixels:
    """Read the message bits that coded pixels carry.

    Args:
        code: the code of the pixels.
        pixels: (H, W, C).
        coded: (H, W), which pixels carry message bits.

    Returns:
        (H, W, C) uint8, the message bits that each sample yields; 0 outside of coded pixels.
    """
    message = np.zeros(pixels.shape, np.uint8)
    samples = code.samples[-pixels.shape[2] :]
    height, width, channels = pixels.shape
    coded_pixels = np.flatnonzero(coded)
    rows = coded_pixels // width
    # Coded pixels of all rows, one after the other. Zeros before each row keep the rows apart.
    memory = max(column.bit_length() for sample in samples for column in sample.columns)
    places = np.arange(len(rows)) + memory * (rows + 1)
    lows = np.zeros((channels, len(rows) + memory * (height + 1)), np.uint8)
    for c, sample in enumerate(samples):
        values = pixels.reshape(-1, channels)[coded_pixels, c]
        lows[c, places] = values & ((1 << sample.low_bits) - 1)
    syndromes = [sample.syndromes[low] for sample, low in zip(samples, lows, strict=True)]
    for c, sample in enumerate(samples):
        if not sample.message_bits:
            continue
        bits = syndromes[c].copy()
        for syndrome, pixels_back, shift in _register_before(samples, c, memory):
            bits[pixels_back:] ^= syndromes[syndrome][: len(bits) - pixels_back] >> shift
        yielded = (lows[c] & sample.plain_bits) << 1 | (bits & 1)
        message.reshape(-1, channels)[coded_pixels, c] = yielded[places]
    return message


def _register_before(
    samples: Sequence[CodedSample], c: int, memory: int
) -> Iterator[tuple[int, int, int]]:
    """The earlier samples whose syndromes are still in the register at sample c of a pixel.

    Yields:
        Each as its index in its pixel, how many pixels it is back, and how often the register was
        shifted since.
    """
    sample, pixels_back, shifts = c, 0, 0
    while True:
        if sample == 0:
            sample, pixels_back = len(samples), pixels_back + 1
        sample -= 1
        shifts += samples[sample].message_bits > 0
        if shifts >= memory:
            return
        yield sample, pixels_back, shifts
