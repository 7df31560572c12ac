"""The map of the region where all pictures are alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.payload.static_map import StaticRegion


def some_area(height: int, width: int, seed: int, share: float = 0.5) -> StaticRegion:
    rng = np.random.default_rng(seed)
    return StaticRegion(rng.random((-(-height // 8), -(-width // 8))) < share)


@settings(deadline=None)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_bytes_and_back(rows: int, columns: int, share: float, seed: int) -> None:
    area = some_area(8 * rows, 8 * columns, seed, share)
    data = area.to_bytes()
    again = StaticRegion.from_bytes(data)
    assert again is not None and np.array_equal(again.cells, area.cells)
    assert StaticRegion.from_bytes(data[:-1]) is None
    assert StaticRegion.from_bytes(data[:3]) is None


@given(st.binary(max_size=60))
def test_bytes_of_anyone(data: bytes) -> None:
    area = StaticRegion.from_bytes(data)
    assert area is None or area.cells.dtype == bool


def test_an_area_that_is_too_large_is_none() -> None:
    data = StaticRegion(np.ones((4000, 4000), np.bool_)).to_bytes()
    assert len(data) < 10_000
    assert StaticRegion.from_bytes(data) is None


def test_a_simple_area_takes_little() -> None:
    cells = np.zeros((90, 120), np.bool_)
    cells[20:70, 30:100] = True
    assert len(StaticRegion(cells).to_bytes()) < 80


sides = st.integers(16, 90)


@settings(deadline=None)
@given(height=sides, width=sides, channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_runs_are_the_pixels_of_the_cells(
    height: int, width: int, channels: int, seed: int
) -> None:
    area = some_area(height, width, seed)
    assert area.fits((height, width, channels))
    inside = np.zeros(height * width * channels, np.bool_)
    for start, length in zip(*area.runs((height, width, channels)), strict=True):
        assert not inside[start : start + length].any()
        inside[start : start + length] = True
    mask = area.mask(height, width)
    assert np.array_equal(inside, mask[..., None].repeat(channels, axis=2).reshape(-1))
    for y, x in np.ndindex(*area.cells.shape):
        assert (mask[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] == area.cells[y, x]).all()
