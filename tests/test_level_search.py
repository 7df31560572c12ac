"""The search for the level of a codec at which a file has a certain size."""

from __future__ import annotations

import math

import pytest

from iicnet_cli.engines.network.level_search import MIN_FILLED, MIN_LEVEL, LevelSearch
from iicnet_cli.engines.network.residual_codec import MAX_LEVEL


@pytest.mark.parametrize("slope", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("wanted", [20.5, 33.0, 47.2])
def test_a_few_trials_find_the_level_of_a_size(slope: float, wanted: float) -> None:
    def size_at(level: float) -> int:
        return round(300 + 1000 * math.exp(slope * level))

    max_size = size_at(wanted)
    search = LevelSearch(max_size, 0.08)
    level, sizes = 34.0, []
    for _ in range(5):
        sizes.append(size_at(level))
        if MIN_FILLED * max_size < sizes[-1] <= max_size:
            break
        level = search.next_level(level, sizes[-1])
    assert MIN_FILLED * max_size < sizes[-1] <= max_size


@pytest.mark.parametrize(("size", "end"), [(10, MAX_LEVEL), (10**6, MIN_LEVEL)])
def test_the_search_ends_at_the_ends_of_the_scale(size: int, end: float) -> None:
    search = LevelSearch(1000, 0.03)
    level = search.next_level(30.0, size)
    assert level == end
    assert search.next_level(level, size) == end


def test_the_search_stays_near_a_level_that_is_nearly_right() -> None:
    search = LevelSearch(2180, 0.147)
    levels = [search.next_level(31.8, 2446), search.next_level(31.1, 2208)]
    levels.append(search.next_level(30.9, 1982))
    assert all(30 < level < 32 for level in levels)


def test_the_search_ends_where_the_codec_has_no_level_between() -> None:
    search = LevelSearch(8671, 0.22)
    assert search.next_level(54.8, 7375) == pytest.approx(55.3, abs=0.2)
    assert search.next_level(55.2, 9122) == 55.2


def test_the_nearest_of_a_few_levels_is_good_or_the_last() -> None:
    def size_at(level: float) -> int:
        return round(1000 * math.exp(0.1 * level))

    search = LevelSearch(30_000, 0.08)
    level, size = search.nearest(30.0, size_at, 4)
    assert size == size_at(level) and search.accepts(size)
    assert LevelSearch(30_000, 0.08).nearest(10.0, size_at, 1) == (10.0, size_at(10.0))
    assert LevelSearch(10, 0.03).nearest(30.0, lambda level: 1000, 9) == (MIN_LEVEL, 1000)
