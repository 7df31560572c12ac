"""Error diffusion with constraints on samples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import SampleConstraints
from iicnet_cli.quantize.error_diffusion import RowQuantizer, round_embedding
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES, extract_message
from tests.error_checks import assert_small, diffused_errors
from tests.random_arrays import (
    coded_pixels,
    midrange_unrounded,
    random_constraints,
    random_filter,
    random_trellis_constraints,
    random_unrounded,
)


def excess_distances(
    quantized: Pixels,
    unrounded: UnroundedEmbedding,
    noise_shaping: NoiseShapingFilter,
    constraints: SampleConstraints,
) -> NDArray[np.float64]:
    """How much further each sample is from its value than the nearest allowed one.

    The values are those of error diffusion as its definition says, from left to right and top to
    bottom, after the errors of ``quantized``.
    """
    height, width, channels = quantized.shape
    errors = np.zeros((height, width, channels))
    excess = np.zeros((height, width, channels))
    for y, x, c in np.ndindex(height, width, channels):
        value = unrounded.pixels[y, x, c] + unrounded.residual[y, x, c] / 256
        for (dy, dx), weights in zip(NEIGHBOURS, noise_shaping, strict=True):
            if y + dy >= 0 and 0 <= x + dx < width:
                value += errors[y + dy, x + dx] @ weights[:, c]
        step = 1 << int(constraints.low_bits[y, x, c])
        allowed = np.arange(int(constraints.residues[y, x, c]), 256, step)
        assert quantized[y, x, c] in allowed
        error = quantized[y, x, c] - value
        excess[y, x, c] = abs(error) - np.abs(allowed - value).min()
        errors[y, x, c] = np.clip(error, -step / 2, step / 2)
    return excess


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(3, 9),
    channels=st.sampled_from([1, 3]),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_errors_are_diffused_sample_by_sample(
    height: int, width: int, channels: int, share: float, seed: int
) -> None:
    unrounded = random_unrounded(height, width, channels, seed)
    constraints = random_constraints(unrounded.pixels.shape, share, seed)
    noise_shaping = random_filter(channels, seed)
    before = unrounded.copy()
    found = round_embedding(unrounded, noise_shaping, constraints)
    # Two values may be equally near, up to the last bits of sums.
    assert excess_distances(found, unrounded, noise_shaping, constraints).max() < 1e-3
    assert np.array_equal(unrounded.values(), before.values())


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.integers(1, 8), max_size=4),
    width=st.integers(3, 9),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_rows_after_rows_give_the_same_as_all_at_once(
    ends: list[int], width: int, share: float, seed: int
) -> None:
    unrounded = random_unrounded(9, width, 3, seed)
    constraints = random_constraints(unrounded.pixels.shape, share, seed)
    noise_shaping = random_filter(3, seed)
    quantizer = RowQuantizer(unrounded, noise_shaping)
    for top, bottom in pairwise([0, *sorted(set(ends)), 9]):
        quantizer.quantize(slice(top, bottom), constraints[top:bottom])
        assert np.array_equal(quantizer.pixels[bottom:], unrounded.pixels[bottom:])
    assert np.array_equal(quantizer.pixels, round_embedding(unrounded, noise_shaping, constraints))


def test_errors_do_not_cross_rows_that_are_missing() -> None:
    unrounded = random_unrounded(12, 9, 3, 4)
    noise_shaping = random_filter(3, 4)
    free = SampleConstraints.none((6, 9, 3))
    quantizer = RowQuantizer(unrounded, noise_shaping)
    quantizer.quantize(slice(6, 12), free)
    quantizer.quantize(slice(0, 6), free)
    for half in (slice(0, 6), slice(6, 12)):
        alone = round_embedding(unrounded[half], noise_shaping)
        assert np.array_equal(quantizer.pixels[half], alone)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(3, 30),
    diffused=st.booleans(),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_given_bits_are_there(
    height: int, width: int, diffused: bool, share: float, seed: int
) -> None:
    unrounded = random_unrounded(height, width, 3, seed)
    constraints = random_constraints(unrounded.pixels.shape, share, seed, most=3)
    noise_shaping = random_filter(3, seed) if diffused else None
    found = round_embedding(unrounded, noise_shaping, constraints)
    assert np.array_equal(found & (1 << constraints.low_bits) - 1, constraints.residues)


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.integers(1, 8), max_size=4),
    width=st.integers(3, 30),
    bits=st.sampled_from(list(TRELLIS_CODES)),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_rows_after_rows_of_a_trellis_code(
    ends: list[int], width: int, bits: int, share: float, seed: int
) -> None:
    unrounded = midrange_unrounded(9, width, 3, seed)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, share, seed)
    noise_shaping = random_filter(3, seed)
    quantizer = RowQuantizer(unrounded, noise_shaping)
    for top, bottom in pairwise([0, *sorted(set(ends)), 9]):
        quantizer.quantize(slice(top, bottom), constraints[top:bottom])
        assert np.array_equal(quantizer.pixels[bottom:], unrounded.pixels[bottom:])
        coded = coded_pixels(constraints)[:bottom]
        message = extract_message(TRELLIS_CODES[bits], quantizer.pixels[:bottom], coded)
        assert np.array_equal(message[coded], constraints.residues[:bottom][coded])
    assert_small(diffused_errors(quantizer.pixels, unrounded, noise_shaping), constraints)


def test_without_a_filter_only_given_bits_change_samples_towards_their_values() -> None:
    unrounded = random_unrounded(20, 30, 3, 1)
    pixels, residual = unrounded.pixels, unrounded.residual
    constraints = random_constraints(pixels.shape, 0.2, 2, most=1)
    change = round_embedding(unrounded, None, constraints).astype(int) - pixels
    assert not change[constraints.low_bits == 0].any()
    changed = (change != 0) & (pixels > 0) & (pixels < 255)
    assert np.count_nonzero(changed) > 100
    assert np.array_equal(change[changed], np.where(residual[changed] >= 0, 1, -1))


def test_a_filter_of_zeros_rounds_to_the_nearest() -> None:
    unrounded = random_unrounded(20, 30, 3, 3)
    unrounded.residual[unrounded.residual == -128] = 0  # a tie
    zeros = np.zeros((5, 3, 3), np.float32)
    assert np.array_equal(round_embedding(unrounded, zeros), unrounded.pixels)


@pytest.fixture
def above_static_rows() -> tuple[UnroundedEmbedding, NoiseShapingFilter]:
    """An embedding (24, 32, 3) without residual from row 8 on, and a filter."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(10, 240, (24, 32, 3), np.uint8)
    residual = rng.integers(-128, 128, pixels.shape).astype(np.int8)
    residual[8:] = 0
    return UnroundedEmbedding(pixels, residual), np.full((5, 3, 3), 0.08, np.float32)


def rows_mask(rows: slice) -> np.ndarray:
    mask = np.zeros((24, 32), np.bool_)
    mask[rows] = True
    return mask


def test_static_pixels_stay_and_errors_end_there(
    above_static_rows: tuple[UnroundedEmbedding, NoiseShapingFilter],
) -> None:
    unrounded, noise_shaping = above_static_rows
    pixels = unrounded.pixels
    found = round_embedding(unrounded, noise_shaping, static_mask=rows_mask(slice(8, None)))
    assert np.array_equal(found[8:], pixels[8:])
    assert np.array_equal(found[:8], round_embedding(unrounded[:8], noise_shaping))
    assert not np.array_equal(found[:8], pixels[:8])
    # Below the static region errors begin anew.
    unrounded.residual[16:] = unrounded.residual[:8]
    found = round_embedding(unrounded, noise_shaping, static_mask=rows_mask(slice(8, 16)))
    assert np.array_equal(found[16:], round_embedding(unrounded[16:], noise_shaping))


def test_static_pixels_still_carry_given_bits(
    above_static_rows: tuple[UnroundedEmbedding, NoiseShapingFilter],
) -> None:
    unrounded, _ = above_static_rows
    quantizer = RowQuantizer(unrounded, None, rows_mask(slice(8, None)))
    ones = np.ones((24, 32, 3), np.uint8)
    quantizer.quantize(slice(0, 24), SampleConstraints(ones, ones))
    assert (quantizer.pixels & 1).all()


def test_static_pixels_stay_beside_trellis_coded_ones() -> None:
    unrounded = random_unrounded(24, 30, 3, 8)
    constraints = random_trellis_constraints(unrounded.pixels.shape, 3, 1, 8)
    mask = np.zeros((24, 30), bool)
    mask[:, 10:20] = True
    constraints.low_bits[mask], constraints.residues[mask] = 0, 0
    found = round_embedding(unrounded, random_filter(3, 8), constraints, mask)
    assert np.array_equal(found[mask], unrounded.pixels[mask])
