"""Error diffusion: what the network sees least of, and bits in the parity of levels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.quantize.error_diffusion import Rounding, rounded
from iicnet_cli.quantize.lattice import NEIGHBOURS, unrounded_mse


def exact(height: int, width: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width, channels), np.uint8)
    return levels, rng.integers(-128, 128, levels.shape, np.int8)


@pytest.mark.parametrize("height", [5, 256, 300])
def test_error_of_exact_values(height: int) -> None:
    levels, rest = exact(height, 7, 3, 0)
    wanted, _ = exact(height, 7, 3, 1)
    error = np.square(levels + rest / 256 - wanted).mean()
    assert unrounded_mse(levels, rest, wanted) == pytest.approx(error)


def told(
    shape: tuple[int, ...], share: float, seed: int, most: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Of a share of the samples a residue, of one or more bits."""
    rng = np.random.default_rng(seed)
    bits = np.where(rng.random(shape) < share, rng.integers(1, most + 1, shape), 0)
    return bits.astype(np.uint8), (rng.integers(0, 256, shape) % (1 << bits)).astype(np.uint8)


def one_by_one(
    levels: np.ndarray,
    rest: np.ndarray,
    feedback: np.ndarray,
    depths: np.ndarray,
    residues: np.ndarray,
) -> np.ndarray:
    """The same, said plainly: sample after sample, from left to right and top to bottom."""
    height, width, channels = levels.shape
    errors = np.zeros(levels.shape)
    out = np.zeros(levels.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                value = levels[y, x, c] + rest[y, x, c] / 256
                for (dy, dx), square in zip(NEIGHBOURS, feedback, strict=True):
                    if y + dy >= 0 and 0 <= x + dx < width:
                        value += errors[y + dy, x + dx] @ square[:, c]
                step = 1 << int(depths[y, x, c])
                allowed = np.arange(int(residues[y, x, c]), 256, step)
                level = allowed[np.abs(allowed - value).argmin()]
                errors[y, x, c] = np.clip(level - value, -step / 2, step / 2)
                out[y, x, c] = level
    return out


def some_feedback(channels: int, seed: int) -> np.ndarray:
    feedback = np.random.default_rng(seed).uniform(-0.3, 0.3, (5, channels, channels))
    feedback[0] = np.triu(feedback[0], 1)
    return feedback.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(3, 9),
    channels=st.sampled_from([1, 3]),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_diagonals_are_as_one_by_one(
    height: int, width: int, channels: int, share: float, seed: int
) -> None:
    levels, rest = exact(height, width, channels, seed)
    where = told(levels.shape, share, seed)
    feedback = some_feedback(channels, seed)
    given_values = levels.copy(), rest.copy()
    found = rounded(levels, rest, feedback, *where)
    # Ties and last bits of sums may fall otherwise, and from there on all is another pattern.
    wanted = one_by_one(levels, rest, feedback, *where)
    assert np.array_equal(found, wanted)
    assert np.array_equal(levels, given_values[0]) and np.array_equal(rest, given_values[1])


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.integers(1, 8), max_size=4),
    width=st.integers(3, 9),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_rows_after_rows_are_as_all_at_once(
    ends: list[int], width: int, share: float, seed: int
) -> None:
    levels, rest = exact(9, width, 3, seed)
    depths, residues = told(levels.shape, share, seed)
    feedback = some_feedback(3, seed)
    rounding = Rounding(levels, rest, feedback)
    for top, bottom in pairwise([0, *sorted(set(ends)), 9]):
        rounding.rows(slice(top, bottom), depths[top:bottom], residues[top:bottom])
        assert np.array_equal(rounding.levels[bottom:], levels[bottom:])
    assert np.array_equal(rounding.levels, rounded(levels, rest, feedback, depths, residues))


def test_errors_are_not_fed_back_over_rows_that_are_missing() -> None:
    levels, rest = exact(12, 9, 3, 4)
    feedback = some_feedback(3, 4)
    free = (np.zeros((6, 9, 3), np.uint8),) * 2
    rounding = Rounding(levels, rest, feedback)
    rounding.rows(slice(6, 12), *free)
    rounding.rows(slice(0, 6), *free)
    for half in (slice(0, 6), slice(6, 12)):
        alone = rounded(levels[half], rest[half], feedback)
        assert np.array_equal(rounding.levels[half], alone)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(3, 30),
    diffused=st.booleans(),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_bits_are_there(height: int, width: int, diffused: bool, share: float, seed: int) -> None:
    levels, rest = exact(height, width, 3, seed)
    depths, residues = told(levels.shape, share, seed, most=3)
    found = rounded(levels, rest, some_feedback(3, seed) if diffused else None, depths, residues)
    assert np.array_equal(found & (1 << depths) - 1, residues)


def test_without_feedback_only_bits_change_levels_towards_the_value() -> None:
    levels, rest = exact(20, 30, 3, 1)
    depths, residues = told(levels.shape, 0.2, 2, most=1)
    change = rounded(levels, rest, None, depths, residues).astype(int) - levels
    assert not change[depths == 0].any()
    changed = (change != 0) & (levels > 0) & (levels < 255)
    assert np.count_nonzero(changed) > 100
    assert np.array_equal(change[changed], np.where(rest[changed] >= 0, 1, -1))


def test_zeros_are_no_feedback() -> None:
    levels, rest = exact(20, 30, 3, 3)
    rest[rest == -128] = 0  # a tie
    zeros = np.zeros((5, 3, 3), np.float32)
    assert np.array_equal(rounded(levels, rest, zeros), levels)
