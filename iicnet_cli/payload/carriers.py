"""Which samples of a picture carry which bits of a mark.

Headers and static region lie in fixed samples, the same in every picture of a size. The payload is
spread over the carriers: the samples (or, with a trellis code, the pixels) that carry neither of
these and lie outside of the static region.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.mark import FIXED_HEADER_BYTES
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.trellis_codes import extract_message

HEADER_STRETCHES = 8 * FIXED_HEADER_BYTES
"""The samples of a picture are divided into this many equal stretches, each of which carries one
bit of the fixed header. A picture with fewer samples cannot carry a mark."""

_SYMBOLS_AT_ONCE = 1 << 16
"""Positions are computed for this many symbols at once, which bounds the memory they take."""


def header_positions(samples: int, count: int) -> NDArray[np.int64]:
    """Where the bits before the payload lie.

    Each of the ``HEADER_STRETCHES`` stretches carries one bit at a scattered position, then a
    second one in the sample behind it, and so on.

    Args:
        samples: number of samples of the picture.
        count: number of bits.

    Returns:
        Indices into the flattened picture, one for each bit; fewer if there is no room for more.
    """
    stretches = np.arange(HEADER_STRETCHES + 1, dtype=np.int64)
    starts = stretches * samples // HEADER_STRETCHES
    # The golden ratio scatters the positions: regular steps can line up in one column of pixels.
    scatter = stretches[:-1] * 40503 % 65536
    lengths = np.diff(starts)
    rounds = min(-(-count // HEADER_STRETCHES), samples // HEADER_STRETCHES)
    offsets = lengths * scatter // 65536 + np.arange(rounds)[:, None]
    positions = starts[:-1] + offsets % lengths
    return positions.reshape(-1)[:count]


class PayloadCarriers:
    """The samples or pixels of a picture that may carry its payload, one symbol each.

    Args:
        shape: (H, W, C) or (H, W), of the picture.
        header_positions: samples that carry headers and static region.
        static_region: where no payload is carried.
        code: how it is carried. With a trellis code the carriers are pixels, else samples.

    Attributes:
        count: number of carriers.
        symbol_bits: payload bits to a carrier.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        header_positions: NDArray[np.int64],
        static_region: StaticRegion | None,
        code: PayloadCode,
    ) -> None:
        self._shape = (*shape, 1)[:3]
        self._code = code.trellis_code
        channels = self._shape[2]
        taken = header_positions
        if self._code is None:
            self._sample_bits = [int(code)]
        else:
            self._sample_bits = self._code.message_bits(channels)
            shape, taken = shape[:2], np.unique(taken // channels)
        self.symbol_bits = sum(self._sample_bits)
        self._samples = len(self._sample_bits)
        # Runs of positions that are no carriers: those of the static region, and single ones.
        starts, lengths = np.zeros((2, 0), np.int64)
        if static_region is not None:
            starts, lengths = static_region.runs(shape)
        run = np.searchsorted(starts, taken, side="right") - 1
        outside = taken[(run < 0) | (taken >= (starts + lengths)[run])] if len(starts) else taken
        starts = np.concatenate((starts, outside))
        order = np.argsort(starts)
        self._run_starts = starts[order]
        self._run_lengths = np.concatenate((lengths, np.ones_like(outside)))[order]
        # For each run, the positions in all runs before it, and the carriers before it.
        self._skipped = np.concatenate(([0], np.cumsum(self._run_lengths)))
        self._carriers_before = self._run_starts - self._skipped[:-1]
        self.count = math.prod(shape) - int(self._skipped[-1])

    def symbols_for(self, size: int) -> int:
        """How many symbols a payload of this many bytes takes."""
        return -(-8 * size // self.symbol_bits)

    def positions(
        self, count: int, first_sample: int, samples: slice
    ) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Spread symbols evenly over the carriers.

        Args:
            count: number of symbols.
            first_sample: the symbols begin with the first carrier from this sample of the flattened
                picture on, and continue at its start.
            samples: symbols that surely lie outside of this slice may be left out.

        Yields:
            A slice of the symbols, and the positions of their carriers: indices of samples or, with
            a trellis code, of pixels.
        """
        offset = self._rank(first_sample // self._samples)
        wanted = samples.start // self._samples, -(-samples.stop // self._samples)
        for start in range(0, count, _SYMBOLS_AT_ONCE):
            part = slice(start, min(start + _SYMBOLS_AT_ONCE, count))
            ranks = np.arange(part.start, part.stop) * self.count // count + offset
            rounds = ranks[0] // self.count, ranks[-1] // self.count
            ranks %= self.count
            # The position of a carrier exceeds its rank by the length of all runs, at most.
            if rounds[0] == rounds[1] and (
                ranks[0] >= wanted[1] or ranks[-1] + self._skipped[-1] < wanted[0]
            ):
                continue
            yield part, self._positions_of(ranks)

    def split_symbols(
        self, positions: NDArray[np.int64], symbols: Pixels
    ) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        """Divide symbols among the samples of their carriers.

        Args:
            positions: of the carriers, from :meth:`positions`.
            symbols: uint8, one for each of them.

        Yields:
            For each sample of a carrier: indices of these samples, and their bits of the symbols.
        """
        left = self.symbol_bits
        for c, bits in enumerate(self._sample_bits):
            left -= bits
            part = symbols >> np.uint8(left) & np.uint8((1 << bits) - 1)
            yield positions * self._samples + c, part

    def read_symbols(self, pixels: Pixels, count: int, first_sample: int) -> Pixels:
        """Read symbols from a picture.

        Args:
            pixels: of the shape of the class.
            count: see :meth:`positions`.
            first_sample: likewise.

        Returns:
            (count,) uint8; only the lowest ``symbol_bits`` bits of each are part of the symbol.
        """
        everywhere = slice(0, pixels.size)
        values = pixels.reshape(-1)
        if self._code is not None:
            coded = np.zeros(math.prod(self._shape[:2]), np.bool_)
            for _, positions in self.positions(count, first_sample, everywhere):
                coded[positions] = True
            message = extract_message(
                self._code, pixels.reshape(self._shape), coded.reshape(self._shape[:2])
            )
            values = np.zeros(len(coded), np.uint8)
            for c, bits in enumerate(self._sample_bits):
                values <<= np.uint8(bits)
                values |= message[..., c].reshape(-1)
        symbols = np.empty(count, np.uint8)
        for part, positions in self.positions(count, first_sample, everywhere):
            symbols[part] = values[positions]
        return symbols

    def _rank(self, position: int) -> int:
        """How many carriers come before this position."""
        run = int(np.searchsorted(self._run_starts, position))
        beyond = 0
        if run:
            run_stop = int(self._run_starts[run - 1] + self._run_lengths[run - 1])
            beyond = max(0, run_stop - position)
        return position - int(self._skipped[run]) + beyond

    def _positions_of(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of the carriers of these ranks."""
        runs = np.searchsorted(self._carriers_before, ranks, side="right")
        return ranks + self._skipped[runs]
