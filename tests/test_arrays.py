"""Pictures in fixed point, and their padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.pictures.arrays import (
    FRACTION,
    crop,
    from_fixed_point,
    pad,
    padding_to,
    to_fixed_point,
)


def test_halves_are_rounded_up() -> None:
    halves = np.array([-3, -1, 1, 3], np.int16) * (FRACTION // 2)
    assert from_fixed_point(halves, np.int16).tolist() == [-1, 0, 1, 2]
    assert from_fixed_point(halves - 1, np.int16).tolist() == [-2, -1, 0, 1]
    assert from_fixed_point(halves, np.uint8).tolist() == [0, 0, 1, 2]


@given(st.lists(st.integers(-255, 510), min_size=1, max_size=30))
def test_whole_values_are_kept(numbers: list[int]) -> None:
    values = np.array(numbers, np.int16)
    fixed = to_fixed_point(values)
    assert np.array_equal(from_fixed_point(fixed, np.int16), values)
    assert np.array_equal(fixed, values * FRACTION)
    result = from_fixed_point(fixed, np.int16, out=fixed)
    assert np.shares_memory(result, fixed)
    assert np.array_equal(result, values)


def test_8_bit_results_are_clipped() -> None:
    fixed = to_fixed_point(np.array([-5, 0, 255, 300], np.int16))
    pixels = from_fixed_point(fixed, np.uint8)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [0, 0, 255, 255]


@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 8), st.sampled_from([np.uint8, np.int16])
)
def test_padding_repeats_the_border_and_is_cropped_again(
    height: int, width: int, multiple: int, dtype: type
) -> None:
    images = np.arange(2 * height * width * 3).reshape(2, height, width, 3).astype(dtype)
    right, bottom = padding_to(width, height, multiple)
    padded = pad(images, (right, bottom))
    assert 0 <= right < multiple and 0 <= bottom < multiple
    assert padded.shape == (2, height + bottom, width + right, 3) and padded.dtype == dtype
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert np.array_equal(crop(padded, width, height), images)
    assert (padded[:, height:] == padded[:, height - 1 : height]).all()
    assert (padded[:, :, width:] == padded[:, :, width - 1 : width]).all()
