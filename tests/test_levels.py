"""Levels in parts, and whole ones."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.pixels import tensor_to_fixed_point, to_pixels, to_signed_pixels
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point, to_fixed_point


@given(st.lists(st.floats(-600, 600, width=32), min_size=1, max_size=30))
def test_parts_round_to_the_levels_of_what_was_cut_into_them(values: list[float]) -> None:
    images = torch.tensor(values).reshape(-1, 1, 1, 1) / 255
    pixels, levels = to_pixels(images), to_signed_pixels(images.clamp(-512 / 255, 512 / 255))
    assert np.array_equal(
        from_fixed_point(tensor_to_fixed_point(images, clamped=True), np.uint8), pixels
    )
    parts = tensor_to_fixed_point(images, clamped=False)
    assert np.array_equal(from_fixed_point(parts, np.int16), levels)
    assert parts.min() >= -512 * FRACTION and parts.max() <= 512 * FRACTION


def test_halves_go_up() -> None:
    halves = np.array([-3, -1, 1, 3], np.int16) * (FRACTION // 2)
    assert from_fixed_point(halves, np.int16).tolist() == [-1, 0, 1, 2]
    assert from_fixed_point(halves - 1, np.int16).tolist() == [-2, -1, 0, 1]
    assert from_fixed_point(halves, np.uint8).tolist() == [0, 0, 1, 2]


@given(st.lists(st.integers(-255, 510), min_size=1, max_size=30))
def test_whole_levels_stay_what_they_are(values: list[int]) -> None:
    levels = np.array(values, np.int16)
    parts = to_fixed_point(levels)
    assert np.array_equal(from_fixed_point(parts, np.int16), levels)
    assert np.array_equal(parts, levels * FRACTION)
    result = from_fixed_point(parts, np.int16, out=parts)
    assert np.shares_memory(result, parts)
    assert np.array_equal(result, levels)


def test_pixels_are_given_as_pixels() -> None:
    parts = to_fixed_point(np.array([-5, 0, 255, 300], np.int16))
    pixels = from_fixed_point(parts, np.uint8)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [0, 0, 255, 255]
