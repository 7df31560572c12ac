"""The lattice, and the quantization tables it follows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.engines.jpegproof.profiles import LATTICES
from iicnet_cli.engines.jpegproof.quantization_tables import luma_steps

LATTICE = LATTICES[2]


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 100])
def test_steps_are_those_that_pillow_writes(quality: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        assert luma_steps(quality).ravel().tolist() == image.quantization[0]  # type: ignore[attr-defined]


def test_positions_and_bits_follow_from_the_limit() -> None:
    assert LATTICE.spacings[0] == 18
    assert LATTICE.spacings[-1] == 5
    assert (np.diff(LATTICE.spacings) <= 0).all()
    assert set(LATTICE.bits[LATTICE.spacings <= 10]) == {2, 3}
    assert set(LATTICE.bits[LATTICE.spacings > 10.4]) == {1}
    assert LATTICE.mask.sum() == len(LATTICE.bits)


def test_the_nearest_point_with_a_label() -> None:
    scaled = np.full(len(LATTICE.bits), 2.4, np.float32)
    labels = np.ones(len(LATTICE.bits), np.int32)
    points = LATTICE.nearest(scaled, labels)
    assert set(points[LATTICE.bits == 1]) == {3}
    assert set(points[LATTICE.bits == 2]) == {1}


def test_scaling_and_back() -> None:
    coefficients = np.random.default_rng(0).normal(0, 30, (2, 3, 8, 8)).astype(np.float32)
    changed = LATTICE.with_points(coefficients, np.rint(LATTICE.scaled(coefficients)))
    assert np.array_equal(changed[..., 7, 7], coefficients[..., 7, 7])
    assert np.abs(LATTICE.scaled(changed) - np.rint(LATTICE.scaled(changed))).max() < 1e-4
