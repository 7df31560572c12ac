"""Which samples of a picture carry the bits of a mark."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.container.common import Common

MARK_BITS = 96
"""How many samples carry a mark alone; a picture needs at least as many."""
_TOGETHER = 1 << 16
"""Symbols whose places are computed at once, to save memory."""


def first_places(samples: int, count: int) -> NDArray[np.int64]:
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


class OpenSamples:
    """Samples of a flattened picture that may carry a load: motion and enhancement layer.

    Args:
        shape: (H, W, C) or (H, W).
        taken: samples that carry what comes before the load.
        area: where none carry the load.

    Attributes:
        count: of them.
    """

    def __init__(
        self, shape: tuple[int, ...], taken: NDArray[np.int64], area: Common | None
    ) -> None:
        starts, lengths = np.zeros((2, 0), np.int64) if area is None else area.runs(shape)
        run = np.searchsorted(starts, taken, side="right") - 1
        outside = taken[(run < 0) | (taken >= (starts + lengths)[run])] if len(starts) else taken
        starts = np.concatenate((starts, outside))
        order = np.argsort(starts)
        self._starts = starts[order]
        self._lengths = np.concatenate((lengths, np.ones_like(outside)))[order]
        self._closed = np.concatenate(([0], np.cumsum(self._lengths)))
        # Open samples before each run of closed ones.
        self._before = self._starts - self._closed[:-1]
        self.count = math.prod(shape) - int(self._closed[-1])

    def spread(
        self, count: int, first: int, some: slice
    ) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Places of ``count`` symbols, in parts; of those that have some within these samples.

        They are spread evenly, from the sample ``first`` on to the end, and then from the start.
        """
        skipped = self._rank(first)
        for start in range(0, count, _TOGETHER):
            part = slice(start, min(start + _TOGETHER, count))
            ranks = np.arange(part.start, part.stop) * self.count // count + skipped
            rounds = ranks[0] // self.count, ranks[-1] // self.count
            ranks %= self.count
            # A place is a rank, and at most so many more.
            if rounds[0] == rounds[1] and (
                ranks[0] >= some.stop or ranks[-1] + self._closed[-1] < some.start
            ):
                continue
            yield part, self._places(ranks)

    def _rank(self, sample: int) -> int:
        """How many come before this sample."""
        i = int(np.searchsorted(self._starts, sample))
        beyond = max(0, int(self._starts[i - 1] + self._lengths[i - 1]) - sample) if i else 0
        return sample - int(self._closed[i]) + beyond

    def _places(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples of these ranks."""
        return ranks + self._closed[np.searchsorted(self._before, ranks, side="right")]
