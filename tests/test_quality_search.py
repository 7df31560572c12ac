"""The search for the best quality that fits."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.media.quality_search import best_quality


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=101).map(sorted),
    max_size=st.integers(-10, 10**6 + 10),
    guess=st.integers(0, 100),
)
def test_the_best_quality_that_fits_is_found(sizes: list[int], max_size: int, guess: int) -> None:
    tried: list[int] = []

    def size_at(quality: int) -> int:
        tried.append(quality)
        return sizes[quality]

    best = best_quality(size_at, max_size, len(sizes), guess % len(sizes))
    assert best == bisect.bisect_right(sizes, max_size) - 1
    assert len(tried) == len(set(tried))
