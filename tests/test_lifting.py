"""The lifting step: prediction is undone, frame after frame away from the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.motion.field import VECTOR_UNITS_PER_PIXEL, MotionField
from iicnet_cli.motion.lifting import (
    add_prediction,
    neighbour_indices,
    predict_frame,
    predict_step,
    subtract_prediction,
)
from iicnet_cli.tasks.task import reference_first
from tests.conftest import natural
from tests.motion_samples import motion_fields


@settings(deadline=None)
@given(st.integers(2, 5).flatmap(motion_fields), st.integers(1, 70), st.integers(1, 70))
def test_prediction_is_undone_whatever_the_vectors(
    motion: MotionField, height: int, width: int
) -> None:
    rng = np.random.default_rng(height)
    shape = (len(motion.vectors) + 1, height, width, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    compensated = subtract_prediction(images, motion)
    assert compensated.dtype == np.int16
    assert np.array_equal(compensated[0], images[0])
    assert np.array_equal(add_prediction(compensated, motion), images)


def test_without_motion_pictures_stay() -> None:
    images = np.stack([natural(20, 30, seed) for seed in range(3)])
    assert subtract_prediction(images, None) is images
    assert np.array_equal(add_prediction(images, None), images)


def test_restored_values_are_clipped() -> None:
    restored = np.array([-5, 300, 128], np.int16).reshape(3, 1, 1, 1)
    assert add_prediction(restored, None).flatten().tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(2, [0]), (3, [0, 0]), (5, [2, 0, 0, 3]), (6, [2, 3, 0, 0, 4]), (7, [2, 3, 0, 0, 4, 5])],
)
def test_neighbours_are_nearer_to_the_reference(frames: int, expected: list[int]) -> None:
    assert neighbour_indices(frames) == expected
    times = reference_first(frames)
    for time, neighbour in zip(times[1:], expected, strict=True):
        assert abs(times[neighbour] - time) == 1
        assert abs(times[neighbour] - times[0]) == abs(time - times[0]) - 1


@pytest.mark.parametrize("weight", [0, 1, 2])
def test_blend_weights_mix_the_two_predictions(weight: int) -> None:
    reference, neighbour = natural(300, 40, 1), natural(300, 40, 2)
    vectors = np.zeros((2, 3, 2, 2), np.int16)
    vectors[1, ..., 0] = 4 * VECTOR_UNITS_PER_PIXEL
    moved = neighbour[(np.arange(300) + 4).clip(0, 299)].astype(float)
    predicted = predict_frame(reference, neighbour, vectors, np.full((3, 2), weight, np.uint8))
    expected = np.rint(((2 - weight) * reference.astype(float) + weight * moved) / 2)
    assert np.array_equal(predicted, expected)


def test_a_right_prediction_leaves_the_reference() -> None:
    images = np.stack([natural(20, 30, seed) for seed in range(3)])
    compensated = predict_step(images, images[1:])
    assert np.array_equal(compensated, np.stack([images[0]] * 3))
