"""Codes: bits that whole rows bring out, with the least disturbance."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.quantize.error_diffusion import Rounding, rounded
from iicnet_cli.quantize.lattice import NEIGHBOURS
from iicnet_cli.quantize.trellis_codes import CODED, CODES, extract_message
from tests.test_rounding import exact, some_feedback, told

numbers = st.integers(1, len(CODES))
PICTURES: dict[str, st.SearchStrategy[Any]] = {
    "height": st.integers(1, 20),
    "width": st.integers(3, 40),
    "channels": st.sampled_from([1, 3]),
    "number": numbers,
    "share": st.floats(0.05, 1),
    "seed": st.integers(0, 999),
}


def message(
    shape: tuple[int, int, int], number: int, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coded pixels, and depths and residues of these and, here and there, of others."""
    rng = np.random.default_rng(seed)
    coded = rng.random(shape[:2]) < share
    depths, residues = told(shape, 0.3, seed)
    bits = np.array(CODES[number - 1].bits(shape[2]))
    depths[coded] = CODED + number
    residues[coded] = (rng.integers(0, 256, shape) % (1 << bits))[coded]
    return coded, depths, residues


def errors_are_small(
    found: np.ndarray,
    levels: np.ndarray,
    rest: np.ndarray,
    feedback: np.ndarray,
    coded: np.ndarray,
    depths: np.ndarray,
) -> None:
    """Each level is one of the nearest with some low bits, after its neighbours' errors."""
    height, width, channels = levels.shape
    errors = np.zeros(levels.shape)
    for y, x, c in product(range(height), range(width), range(channels)):
        value = levels[y, x, c] + rest[y, x, c] / 256
        for (dy, dx), square in zip(NEIGHBOURS, feedback, strict=True):
            if y + dy >= 0 and 0 <= x + dx < width:
                value += errors[y + dy, x + dx] @ square[:, c]
        errors[y, x, c] = found[y, x, c] - value
        depth = int(depths[y, x, c])
        if coded[y, x]:
            depth = CODES[depth - CODED - 1].samples[c - channels].depth
        assert abs(errors[y, x, c]) <= (1 << depth) / 2 + 1e-3


@pytest.mark.parametrize("number", range(1, len(CODES) + 1))
def test_codes_are_named_by_their_bits(number: int) -> None:
    code = CODES[number - 1]
    assert sum(code.bits(3)) == number
    assert code.bits(1) == code.bits(3)[-1:] and code.bits(1)[0] >= 1


@settings(max_examples=60, deadline=None)
@given(**PICTURES, diffused=st.booleans())
def test_bits_are_brought_out(
    height: int, width: int, channels: int, number: int, share: float, diffused: bool, seed: int
) -> None:
    levels, rest = exact(height, width, channels, seed)
    coded, depths, residues = message(levels.shape, number, share, seed)
    given_values = levels.copy(), rest.copy()
    feedback = some_feedback(channels, seed) if diffused else None
    found = rounded(levels, rest, feedback, depths, residues)
    out = extract_message(CODES[number - 1], found, coded)
    assert np.array_equal(out[coded], residues[coded]) and not out[~coded].any()
    low = found[~coded] & (1 << depths[~coded]) - 1
    assert np.array_equal(low, residues[~coded])
    assert np.array_equal(levels, given_values[0]) and np.array_equal(rest, given_values[1])


@settings(max_examples=40, deadline=None)
@given(**PICTURES)
def test_errors_are_diffused_as_others_are(
    height: int, width: int, channels: int, number: int, share: float, seed: int
) -> None:
    levels, rest = exact(height, width, channels, seed)
    levels = levels // 2 + 64  # away from the ends
    coded, depths, residues = message(levels.shape, number, share, seed)
    feedback = some_feedback(channels, seed)
    found = rounded(levels, rest, feedback, depths, residues)
    errors_are_small(found, levels, rest, feedback, coded, depths)


@pytest.mark.parametrize(
    ("number", "channels", "width"), [(1, 3, 3), (2, 3, 3), (3, 3, 2), (3, 1, 5), (4, 1, 5)]
)
@pytest.mark.parametrize("seed", range(3))
def test_no_other_rounding_of_a_row_is_nearer(
    number: int, channels: int, width: int, seed: int
) -> None:
    levels, rest = exact(1, width, channels, seed)
    levels = levels // 2 + 64
    code = CODES[number - 1]
    _, depths, residues = message(levels.shape, number, 1, seed)
    value = levels + rest / 256

    def error(row: np.ndarray) -> float:
        return float(np.square(row - value).sum())

    found = rounded(levels, rest, None, depths, residues)
    choices = []
    for sample, near in zip(code.samples[-channels:] * width, value.reshape(-1), strict=True):
        around = np.arange(np.ceil(near - 8), near + 8)
        by_low = [around[around % (1 << sample.depth) == low] for low in range(1 << sample.depth)]
        choices.append([of[np.abs(of - near).argmin()] for of in by_low])
    rows = np.array(list(product(*choices)), np.uint8).reshape(-1, width, channels)
    whole_rows = np.ones(rows.shape[:2], bool)
    right = (extract_message(code, rows, whole_rows) == residues).all(axis=(1, 2))
    best = min(error(row[None]) for row in rows[right])
    assert error(found) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    ("number", "bound"), [(1, 1.36), (2, 2.15), (3, 3.35), (4, 5.6), (5, 8.8), (6, 13.4)]
)
def test_disturbance(number: int, bound: float) -> None:
    """Beside that of rounding without bits. Told by samples, it would be 2, 3, 4, 8, 12 and 16."""
    levels, rest = exact(60, 90, 3, number)
    levels = levels // 2 + 64
    _, depths, residues = message(levels.shape, number, 1, number)
    found = rounded(levels, rest, None, depths, residues)
    noise = np.square(found - (levels + rest / 256)).mean()
    assert 12 * noise < bound
    assert 0.8 < noise / CODES[number - 1].noise(3) < 1


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.integers(1, 8), max_size=4),
    width=st.integers(3, 30),
    number=numbers,
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_rows_after_rows_get_the_errors_of_those_above(
    ends: list[int], width: int, number: int, share: float, seed: int
) -> None:
    levels, rest = exact(9, width, 3, seed)
    levels = levels // 2 + 64
    coded, depths, residues = message(levels.shape, number, share, seed)
    feedback = some_feedback(3, seed)
    rounding = Rounding(levels, rest, feedback)
    for top, bottom in pairwise([0, *sorted(set(ends)), 9]):
        rounding.rows(slice(top, bottom), depths[top:bottom], residues[top:bottom])
        assert np.array_equal(rounding.levels[bottom:], levels[bottom:])
        out = extract_message(CODES[number - 1], rounding.levels[:bottom], coded[:bottom])
        assert np.array_equal(out[coded[:bottom]], residues[:bottom][coded[:bottom]])
    errors_are_small(rounding.levels, levels, rest, feedback, coded, depths)


def test_kept_pixels_stay() -> None:
    levels, rest = exact(24, 30, 3, 8)
    _, depths, residues = message(levels.shape, 3, 1, 8)
    kept = np.zeros((24, 30), bool)
    kept[:, 10:20] = True
    depths[kept], residues[kept] = 0, 0
    feedback = some_feedback(3, 8)
    found = rounded(levels, rest, feedback, depths, residues, kept)
    assert np.array_equal(found[kept], levels[kept])
