"""payload/rate_map.py: which base the samples of each cell have."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.payload.rate_map import RateMap, cell_counts, largest_size
from iicnet_cli.quantize.tcq import MAX_BASE


def some_map(shape: tuple[int, ...], highest: int = MAX_BASE) -> RateMap:
    bases = np.random.default_rng(1).integers(0, highest + 1, cell_counts(shape), dtype=np.uint8)
    return RateMap(bases)


def test_cells_of_a_picture() -> None:
    assert cell_counts((32, 33, 3)) == (1, 2)
    assert cell_counts((1, 1)) == (1, 1)


@pytest.mark.parametrize("shape", [(65, 40, 3), (33, 70), (5, 5, 1)])
def test_each_sample_has_the_base_of_its_cell(shape: tuple[int, ...]) -> None:
    rate_map = some_map(shape)
    bases = rate_map.sample_bases(shape).reshape(shape)
    for index in np.ndindex(shape):
        assert bases[index] == rate_map.bases[index[0] // 32, index[1] // 32]


def test_bytes_come_back() -> None:
    rate_map = some_map((200, 190))
    found = RateMap.from_bytes(rate_map.to_bytes(), (200, 190, 3))
    assert found is not None
    assert np.array_equal(found.bases, rate_map.bases)


def test_damaged_bytes_are_no_map() -> None:
    shape = (200, 190)
    data = some_map(shape).to_bytes()
    assert RateMap.from_bytes(data, (200, 200)) is None
    assert RateMap.from_bytes(data[:-1], shape) is None
    assert RateMap.from_bytes(b"", shape) is None
    assert RateMap.from_bytes(some_map(shape, 255).to_bytes(), shape) is None


@pytest.mark.parametrize("shape", [(1, 1), (3000, 4000, 3), (9000, 9001)])
def test_no_map_is_larger_than_the_bound(shape: tuple[int, ...]) -> None:
    assert len(some_map(shape).to_bytes()) <= largest_size(shape)
