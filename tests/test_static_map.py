"""Static regions: their bytes, pixels and samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.payload.static_map import StaticRegion
from tests.random_arrays import random_pixels, random_static_region

sides = st.integers(16, 90)


@settings(deadline=None)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_bytes_and_back(rows: int, columns: int, share: float, seed: int) -> None:
    region = random_static_region(8 * rows, 8 * columns, seed, share)
    data = region.to_bytes()
    again = StaticRegion.from_bytes(data)
    assert again is not None and np.array_equal(again.cells, region.cells)
    assert StaticRegion.from_bytes(data[:-1]) is None
    assert StaticRegion.from_bytes(data[:3]) is None


@given(st.binary(max_size=60))
def test_arbitrary_bytes_do_no_harm(data: bytes) -> None:
    region = StaticRegion.from_bytes(data)
    assert region is None or region.cells.dtype == bool


def test_a_map_that_is_too_large_is_refused() -> None:
    data = StaticRegion(np.ones((4000, 4000), np.bool_)).to_bytes()
    assert len(data) < 10_000
    assert StaticRegion.from_bytes(data) is None


def test_a_simple_region_takes_few_bytes() -> None:
    cells = np.zeros((90, 120), np.bool_)
    cells[20:70, 30:100] = True
    assert len(StaticRegion(cells).to_bytes()) < 80


@settings(deadline=None)
@given(height=sides, width=sides, channels=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_mask_and_runs_are_the_pixels_of_the_cells(
    height: int, width: int, channels: int, seed: int
) -> None:
    region = random_static_region(height, width, seed)
    assert region.fits((height, width, channels)) and region.fits((height, width))
    assert not region.fits((height + 8, width)) and not region.fits((height, width - 8))
    inside = np.zeros(height * width * channels, np.bool_)
    for start, length in zip(*region.runs((height, width, channels)), strict=True):
        assert not inside[start : start + length].any()
        inside[start : start + length] = True
    mask = region.mask(height, width)
    assert np.array_equal(inside, mask[..., None].repeat(channels, axis=2).reshape(-1))
    for y, x in np.ndindex(*region.cells.shape):
        assert (mask[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] == region.cells[y, x]).all()


def test_mask_of_the_upper_left_part() -> None:
    region = random_static_region(70, 90, 3)
    assert np.array_equal(region.mask(37, 50), region.mask(70, 90)[:37, :50])


@pytest.mark.parametrize("scale", [1, 32])
@pytest.mark.parametrize("top", [0, 13])
def test_copying_into_restored_rows(scale: int, top: int) -> None:
    region, embedding = random_static_region(48, 64, 1), random_pixels(48, 64)
    pictures = np.full((2, 20, 50, 3), -7, np.int16)
    region.copy_into(pictures, embedding, top, scale=scale)
    mask = region.mask(48, 64)[top : top + 20, :50]
    shown = embedding[top : top + 20, :50].astype(int) * scale
    for picture in pictures:
        assert np.array_equal(picture[mask], shown[mask])
        assert (picture[~mask] == -7).all()
