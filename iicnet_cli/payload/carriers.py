"""Which samples of a picture carry the bits of a mark."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.trellis_codes import CODED, CODES, extract_message

MARK_BITS = 96
"""How many samples carry a mark alone; a picture needs at least as many."""
_TOGETHER = 1 << 16
"""Symbols whose places are computed at once, to save memory."""


def header_positions(samples: int, count: int) -> NDArray[np.int64]:
    """Places of ``count`` bits in the flattened picture: one after the other in each stretch.

    ``MARK_BITS`` equal stretches take a bit each, then a second one beside the first, and so on;
    no more than there is room for.
    """
    bits = np.arange(MARK_BITS + 1, dtype=np.int64)
    starts = bits * samples // MARK_BITS
    # The golden ratio scatters the places: regular steps can line up in one column of pixels.
    scatter = bits[:-1] * 40503 % 65536
    lengths = np.diff(starts)
    rows = np.arange(min(-(-count // MARK_BITS), samples // MARK_BITS))[:, None]
    places = starts[:-1] + (lengths * scatter // 65536 + rows) % lengths
    return places.reshape(-1)[:count]


class PayloadCarriers:
    """Samples or pixels of a flattened picture that may carry a load: motion, enhancement layer.

    Args:
        shape: (H, W, C) or (H, W).
        taken: samples that carry what comes before the load.
        area: where none carry the load.
        depth: low bits of each that carry it; or, above ``CODED``, pixels are carriers, and by how
            much it is more is their code, of as many bits.

    Attributes:
        count: of them.
        bits: of the load, to each.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        taken: NDArray[np.int64],
        area: StaticRegion | None,
        depth: int,
    ) -> None:
        self._shape = (*shape, 1)[:3]
        self._code = CODES[depth - CODED - 1] if depth > CODED else None
        channels = self._shape[2]
        self._each = [depth] if self._code is None else self._code.bits(channels)
        self.bits = sum(self._each)
        self._samples = len(self._each)
        if self._code is not None:
            shape, taken = shape[:2], np.unique(taken // channels)
        starts, lengths = np.zeros((2, 0), np.int64) if area is None else area.runs(shape)
        run = np.searchsorted(starts, taken, side="right") - 1
        outside = taken[(run < 0) | (taken >= (starts + lengths)[run])] if len(starts) else taken
        starts = np.concatenate((starts, outside))
        order = np.argsort(starts)
        self._starts = starts[order]
        self._lengths = np.concatenate((lengths, np.ones_like(outside)))[order]
        self._closed = np.concatenate(([0], np.cumsum(self._lengths)))
        # Carriers before each run of others.
        self._before = self._starts - self._closed[:-1]
        self.count = math.prod(shape) - int(self._closed[-1])

    def needed(self, size: int) -> int:
        """How many carry so many bytes."""
        return -(-8 * size // self.bits)

    def spread(
        self, count: int, first: int, some: slice
    ) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Places of ``count`` symbols, in parts; of those that have some within these samples.

        They are spread evenly, from the sample ``first`` on to the end, and then from the start.
        """
        skipped = self._rank(first // self._samples)
        within = some.start // self._samples, -(-some.stop // self._samples)
        for start in range(0, count, _TOGETHER):
            part = slice(start, min(start + _TOGETHER, count))
            ranks = np.arange(part.start, part.stop) * self.count // count + skipped
            rounds = ranks[0] // self.count, ranks[-1] // self.count
            ranks %= self.count
            # A place is a rank, and at most so many more.
            if rounds[0] == rounds[1] and (
                ranks[0] >= within[1] or ranks[-1] + self._closed[-1] < within[0]
            ):
                continue
            yield part, self._places(ranks)

    def residues(
        self, places: NDArray[np.int64], symbols: Pixels
    ) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
        """For each sample of the carriers at these places its bits of their symbols."""
        left = self.bits
        for c, bits in enumerate(self._each):
            left -= bits
            yield places * self._samples + c, symbols >> np.uint8(left) & np.uint8((1 << bits) - 1)

    def symbols(self, pixels: Pixels, count: int, first: int) -> Pixels:
        """So many symbols, of :meth:`spread`, in a picture; only their low bits count."""
        found, everywhere = np.empty(count, np.uint8), slice(0, pixels.size)
        values = pixels.reshape(-1)
        if self._code is not None:
            coded = np.zeros(math.prod(self._shape[:2]), np.bool_)
            for _, where in self.spread(count, first, everywhere):
                coded[where] = True
            out = extract_message(
                self._code, pixels.reshape(self._shape), coded.reshape(self._shape[:2])
            )
            values = np.zeros(len(coded), np.uint8)
            for c, bits in enumerate(self._each):
                values <<= np.uint8(bits)
                values |= out[..., c].reshape(-1)
        for part, where in self.spread(count, first, everywhere):
            found[part] = values[where]
        return found

    def _rank(self, place: int) -> int:
        """How many come before this place."""
        i = int(np.searchsorted(self._starts, place))
        beyond = max(0, int(self._starts[i - 1] + self._lengths[i - 1]) - place) if i else 0
        return place - int(self._closed[i]) + beyond

    def _places(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where those of these ranks are."""
        return ranks + self._closed[np.searchsorted(self._before, ranks, side="right")]
