"""Unrounded embeddings, and rounding to lattices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.quantize.lattice import UnroundedEmbedding, round_to_lattice
from tests.random_arrays import random_pixels, random_unrounded


@pytest.mark.parametrize("height", [5, 256, 300])
def test_values_and_their_error(height: int) -> None:
    unrounded = random_unrounded(height, 7, 3, 0)
    values = unrounded.pixels + unrounded.residual / 256
    assert np.array_equal(unrounded.values(), values)
    wanted = random_pixels(height, 7, seed=1)
    assert unrounded.mse(wanted) == pytest.approx(np.square(values - wanted).mean())


def test_8_bit_pixels_have_no_residual() -> None:
    pixels = random_pixels(5, 7)
    assert np.array_equal(UnroundedEmbedding.from_pixels(pixels).values(), pixels)


def test_parts_share_memory_and_copies_do_not() -> None:
    unrounded = random_unrounded(6, 7, 3, 0)
    part = unrounded[2:4]
    assert np.shares_memory(part.pixels, unrounded.pixels)
    assert np.array_equal(part.values(), unrounded.values()[2:4])
    assert unrounded.reshape(-1, 3).pixels.shape == (42, 3)
    copy = unrounded.copy()
    assert not np.shares_memory(copy.pixels, unrounded.pixels)
    assert not np.shares_memory(copy.residual, unrounded.residual)
    assert np.array_equal(copy.values(), unrounded.values())


@given(st.floats(-20, 280, width=32), st.integers(0, 8), st.integers(0, 255))
def test_the_nearest_value_with_the_given_bits(value: float, low_bits: int, residue: int) -> None:
    step = 1 << low_bits
    points = np.arange(residue % step, 256, step)
    (found,) = round_to_lattice(
        np.array([value], np.float32),
        np.array([low_bits], np.uint8),
        np.array([residue % step], np.uint8),
    )
    assert found in points
    assert abs(found - value) == pytest.approx(np.abs(points - value).min())


def test_of_two_nearest_values_the_higher_one_is_taken() -> None:
    values = np.array([0.5, 1.5, 3.0, 6.0], np.float32)
    low_bits, residues = np.array([0, 0, 1, 2], np.uint8), np.zeros(4, np.uint8)
    assert round_to_lattice(values, low_bits, residues).tolist() == [1, 2, 4, 8]
