"""The Viterbi search for quantized rows that carry a message."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.quantize.constraints import SampleConstraints
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES, extract_message
from iicnet_cli.quantize.viterbi import TrellisRows, viterbi_quantize
from tests.error_checks import assert_small, diffused_errors
from tests.random_arrays import (
    coded_pixels,
    midrange_unrounded,
    random_filter,
    random_trellis_constraints,
    random_unrounded,
)

CASES: dict[str, st.SearchStrategy[Any]] = {
    "height": st.integers(1, 20),
    "width": st.integers(3, 40),
    "channels": st.sampled_from([1, 3]),
    "bits": st.sampled_from(list(TRELLIS_CODES)),
    "share": st.floats(0.05, 1),
    "seed": st.integers(0, 999),
}


def no_filter(channels: int) -> NoiseShapingFilter:
    return np.zeros((5, channels, channels), np.float32)


def quantize(
    unrounded: UnroundedEmbedding,
    constraints: SampleConstraints,
    noise_shaping: NoiseShapingFilter,
    errors_above: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    if errors_above is None:
        errors_above = np.zeros(unrounded.pixels.shape[1:], np.float32)
    return viterbi_quantize(TrellisRows(unrounded, constraints, noise_shaping, errors_above))


@settings(max_examples=60, deadline=None)
@given(**CASES, diffused=st.booleans())
def test_the_message_is_carried(
    height: int, width: int, channels: int, bits: int, share: float, diffused: bool, seed: int
) -> None:
    unrounded = random_unrounded(height, width, channels, seed)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, share, seed)
    before = unrounded.copy()
    noise_shaping = random_filter(channels, seed) if diffused else no_filter(channels)
    found, _ = quantize(unrounded, constraints, noise_shaping)
    coded, residues = coded_pixels(constraints), constraints.residues
    message = extract_message(TRELLIS_CODES[bits], found, coded)
    assert np.array_equal(message[coded], residues[coded]) and not message[~coded].any()
    low = found[~coded] & (1 << constraints.low_bits[~coded]) - 1
    assert np.array_equal(low, residues[~coded])
    assert np.array_equal(unrounded.values(), before.values())


@settings(max_examples=40, deadline=None)
@given(**CASES)
def test_each_sample_is_near_its_value_after_its_neighbours_errors(
    height: int, width: int, channels: int, bits: int, share: float, seed: int
) -> None:
    unrounded = midrange_unrounded(height, width, channels, seed)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, share, seed)
    noise_shaping = random_filter(channels, seed)
    found, last_errors = quantize(unrounded, constraints, noise_shaping)
    errors = diffused_errors(found, unrounded, noise_shaping)
    assert_small(errors, constraints)
    # A random filter may amplify the rounding of float32.
    np.testing.assert_allclose(last_errors, errors[-1], atol=1e-2)


@pytest.mark.parametrize("bits", TRELLIS_CODES)
def test_nothing_depends_on_what_was_in_memory(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unrounded = midrange_unrounded(3, 25, 3, seed=1)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, 0.8, seed=1)
    expected = quantize(unrounded, constraints, random_filter(3, seed=1))

    def dirty(shape: Any, dtype: Any = float) -> np.ndarray:
        return np.full(shape, 255 if np.issubdtype(dtype, np.integer) else np.nan, dtype)

    monkeypatch.setattr(np, "empty", dirty)
    found = quantize(unrounded, constraints, random_filter(3, seed=1))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@settings(max_examples=25, deadline=None)
@given(
    top=st.integers(1, 8),
    width=st.integers(3, 30),
    bits=st.sampled_from(list(TRELLIS_CODES)),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 999),
)
def test_rows_get_the_errors_of_the_row_above(
    top: int, width: int, bits: int, share: float, seed: int
) -> None:
    unrounded = midrange_unrounded(9, width, 3, seed)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, share, seed)
    noise_shaping = random_filter(3, seed)
    upper, errors = quantize(unrounded[:top], constraints[:top], noise_shaping)
    lower, _ = quantize(unrounded[top:], constraints[top:], noise_shaping, errors)
    found = np.concatenate((upper, lower))
    assert_small(diffused_errors(found, unrounded, noise_shaping), constraints)


@pytest.mark.parametrize(
    ("bits", "channels", "width"), [(1, 3, 3), (2, 3, 3), (3, 3, 2), (3, 1, 5), (4, 1, 5)]
)
@pytest.mark.parametrize("seed", range(3))
def test_no_other_row_with_the_message_is_nearer(
    bits: int, channels: int, width: int, seed: int
) -> None:
    unrounded = midrange_unrounded(1, width, channels, seed)
    code = TRELLIS_CODES[bits]
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, 1, seed)
    values = unrounded.pixels + unrounded.residual / 256

    def error(row: np.ndarray) -> float:
        return float(np.square(row - values).sum())

    found, _ = quantize(unrounded, constraints, no_filter(channels))
    choices = []
    for sample, value in zip(code.samples[-channels:] * width, values.reshape(-1), strict=True):
        around = np.arange(np.ceil(value - 8), value + 8)
        by_low = [
            around[around % (1 << sample.low_bits) == low] for low in range(1 << sample.low_bits)
        ]
        choices.append([points[np.abs(points - value).argmin()] for points in by_low])
    rows = np.array(list(product(*choices)), np.uint8).reshape(-1, width, channels)
    messages = extract_message(code, rows, np.ones(rows.shape[:2], bool))
    with_message = (messages == constraints.residues).all(axis=(1, 2))
    best = min(error(row[None]) for row in rows[with_message])
    assert error(found) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    ("bits", "bound"), [(1, 1.3), (2, 2.1), (3, 3.2), (4, 5.3), (5, 8.4), (6, 12.8)]
)
def test_noise_relative_to_rounding_without_bits(bits: int, bound: float) -> None:
    """With plain low bits it would be 2, 3, 4, 8, 12 and 16."""
    unrounded = midrange_unrounded(60, 90, 3, bits)
    constraints = random_trellis_constraints(unrounded.pixels.shape, bits, 1, bits)
    found, _ = quantize(unrounded, constraints, no_filter(3))
    noise = unrounded.mse(found)
    assert 12 * noise < bound
    assert 0.78 < noise / TRELLIS_CODES[bits].expected_mse(3) < 0.85
