"""Shifts between whole pictures."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.motion.phase_correlation import MIN_SIDE, phase_correlate
from tests.conftest import natural, pan


@settings(deadline=None, max_examples=30)
@given(
    st.integers(MIN_SIDE, 500),
    st.integers(MIN_SIDE, 500),
    st.floats(-0.4, 0.4),
    st.floats(-0.4, 0.4),
    st.integers(0, 99),
)
def test_a_shift_is_found(height: int, width: int, y: float, x: float, seed: int) -> None:
    image = natural(height, width, seed)
    away = (round(y * height), round(x * width))
    pair = np.stack([image, np.roll(image, away, axis=(0, 1))])
    assert phase_correlate(pair) == ((-away[0], -away[1]),)


def test_a_pan_is_found_beside_new_content() -> None:
    clip = pan(5, 120, 200, 17)[[2, 0, 1, 3, 4]]
    assert phase_correlate(clip) == ((0, -34), (0, -17), (0, 17), (0, 34))


def test_pictures_that_a_shift_does_not_improve_stay() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 100, 120, 3), dtype=np.uint8)
    assert phase_correlate(noise) == ((0, 0),) * 5
    assert phase_correlate(np.stack([natural(100, 120, 0)] * 3)) == ((0, 0),) * 2
    assert phase_correlate(np.full((3, 80, 80, 3), 7, np.uint8)) == ((0, 0),) * 2
    one_moved = np.stack([noise[0], noise[1], np.roll(noise[0], 5, axis=1)])
    assert phase_correlate(one_moved) == ((0, 0), (0, -5))


def test_small_pictures_stay() -> None:
    image = natural(MIN_SIDE - 1, 100, 0)
    assert phase_correlate(np.stack([image, np.roll(image, 9, axis=1)])) == ((0, 0),)
