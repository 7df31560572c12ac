"""The bytes of motion fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.motion.field import (
    MAX_BLEND_WEIGHT,
    MAX_FIELD_BYTES,
    MAX_VECTOR,
    VECTOR_UNITS_PER_PIXEL,
    MotionField,
)
from tests.motion_samples import motion_fields


def uniform_field(shape: tuple[int, int, int], vector: int = 0, weight: int = 0) -> MotionField:
    frames, rows, columns = shape
    return MotionField(
        np.full((frames, 2, rows, columns, 2), vector, np.int16), np.full(shape, weight, np.uint8)
    )


@settings(deadline=None)
@given(st.integers(1, 15).flatmap(lambda frames: motion_fields(frames, 30_000)))
def test_bytes_round_trip(motion: MotionField) -> None:
    data = motion.to_bytes()
    parsed = MotionField.from_bytes(data, len(motion.vectors))
    assert parsed is not None
    assert np.array_equal(parsed.vectors, motion.vectors)
    assert np.array_equal(parsed.blend_weights, motion.blend_weights)
    assert parsed.vectors.dtype == np.int16 and parsed.blend_weights.dtype == np.uint8


@settings(deadline=None)
@given(motion_fields(3))
def test_bytes_of_another_number_of_frames_and_cut_bytes_are_refused(motion: MotionField) -> None:
    data = motion.to_bytes()
    assert MotionField.from_bytes(data, 4) is None
    assert MotionField.from_bytes(data[:-1], 3) is None


@given(st.binary(max_size=60))
def test_random_bytes_give_a_valid_field_or_none(data: bytes) -> None:
    motion = MotionField.from_bytes(data, 4)
    assert motion is None or len(motion.vectors) == len(motion.blend_weights) == 4


@pytest.mark.parametrize(("weight", "valid"), [(MAX_BLEND_WEIGHT, True), (3, False)])
def test_blend_weights_above_one_neighbour_are_refused(weight: int, valid: bool) -> None:
    data = uniform_field((1, 3, 3), weight=weight).to_bytes()
    assert (MotionField.from_bytes(data, 1) is not None) == valid


@pytest.mark.parametrize("sign", [1, -1])
def test_vectors_that_are_too_long_are_refused(sign: int) -> None:
    longest = sign * VECTOR_UNITS_PER_PIXEL * MAX_VECTOR
    assert MotionField.from_bytes(uniform_field((1, 3, 3), longest).to_bytes(), 1) is not None
    assert MotionField.from_bytes(uniform_field((1, 3, 3), longest + sign).to_bytes(), 1) is None


def test_fields_that_would_fill_the_memory_are_refused() -> None:
    field = uniform_field((1, 700, 700))
    assert field.vectors.nbytes + field.blend_weights.nbytes > MAX_FIELD_BYTES
    data = field.to_bytes()
    assert len(data) < 10_000
    assert MotionField.from_bytes(data, 1) is None
