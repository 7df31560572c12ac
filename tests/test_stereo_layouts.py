"""Both views of a stereo pair in one picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.errors import UsageError
from iicnet_cli.media.stereo_layouts import LAYOUTS, anaglyph, join, split
from iicnet_cli.pictures.metrics import psnr
from tests.samples import natural

LEFT, RIGHT = natural(24, 36, 1), natural(24, 36, 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(LAYOUTS), st.integers(0, 9))
def test_join_and_split_are_inverse(height: int, width: int, layout: str, seed: int) -> None:
    left, right = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    again = split(join(left, right, layout), layout)
    assert np.array_equal(again[0], left) and np.array_equal(again[1], right)


def test_layouts_put_the_views_where_they_say() -> None:
    assert np.array_equal(join(LEFT, RIGHT, "side-by-side")[:, :36], LEFT)
    assert np.array_equal(join(LEFT, RIGHT, "cross-eyed")[:, :36], RIGHT)
    assert np.array_equal(join(LEFT, RIGHT, "top-bottom")[:24], LEFT)


def test_odd_sides_and_unknown_layouts_are_refused() -> None:
    with pytest.raises(UsageError, match="width is odd"):
        split(LEFT[:, :35], "side-by-side")
    with pytest.raises(UsageError, match="height is odd"):
        split(LEFT[:23], "top-bottom")
    with pytest.raises(UsageError, match="no layout"):
        split(LEFT, "diagonal")


def test_views_of_two_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="one size"):
        anaglyph(LEFT, RIGHT[:12])
    with pytest.raises(UsageError, match="one size"):
        join(LEFT, RIGHT[:, :12], "top-bottom")


def test_anaglyph_takes_red_from_the_left_and_cyan_from_the_right() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (anaglyph(white, black)[0, 0] == [255, 0, 0]).all()
    right = anaglyph(black, white)[0, 0]
    assert right[0] == 0 and (right[1:] > 240).all()
    grey = np.repeat(LEFT.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    assert psnr(anaglyph(grey, grey), grey) > 35


def test_equal_grey_views_give_their_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    assert np.abs(anaglyph(grey, grey).astype(int) - grey).max() <= 1


def test_equal_views_keep_their_lightness() -> None:
    """Colours shift by design; the luminance, which carries the picture, stays within 12 levels."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    shift = anaglyph(LEFT, LEFT).astype(float) @ weights - LEFT.astype(float) @ weights
    assert np.abs(shift).mean() < 12


def test_anaglyph_mixes_linear_light() -> None:
    """The red of 50 % grey on the left alone: 1.1330 of its light, coded again."""
    grey, black = np.full((1, 1, 3), 128, np.uint8), np.zeros((1, 1, 3), np.uint8)
    light = ((128 / 255 + 0.055) / 1.055) ** 2.4 * (0.4561 + 0.500484 + 0.176381)
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert anaglyph(grey, black)[0, 0].tolist() == [round(expected), 0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_each_pixel_of_an_anaglyph_depends_on_its_own_place_only(
    height: int, width: int, seed: int
) -> None:
    left, right = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    picture = anaglyph(left, right)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    # A pixel depends on its own place alone.
    assert np.array_equal(picture[:1, -1:], anaglyph(left[:1, -1:], right[:1, -1:]))
