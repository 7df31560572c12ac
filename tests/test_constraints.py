"""Constraints on samples."""

from __future__ import annotations

import numpy as np

from iicnet_cli.quantize.constraints import ALL_BITS, SampleConstraints
from tests.random_arrays import (
    coded_pixels,
    random_constraints,
    random_pixels,
    random_trellis_constraints,
)


def test_none() -> None:
    constraints = SampleConstraints.none((4, 5, 3))
    assert constraints.low_bits.shape == constraints.residues.shape == (4, 5, 3)
    assert not constraints.low_bits.any() and not constraints.has_trellis_coded


def test_trellis_coded_pixels_are_found() -> None:
    constraints = random_trellis_constraints((6, 7, 3), 4, 0.5, 0)
    assert constraints.has_trellis_coded
    uncoded = constraints.reshape(-1, 3)[~coded_pixels(constraints).reshape(-1)]
    assert uncoded.code is constraints.code and not uncoded.has_trellis_coded


def test_static_pixels_keep_their_values_except_for_given_bits() -> None:
    pixels = random_pixels(6, 7)
    constraints = random_constraints(pixels.shape, 0.3, 1)
    mask = np.zeros((6, 7), bool)
    mask[2:4] = True
    kept = constraints.keep(mask, pixels)
    free = mask[..., None] & (constraints.low_bits == 0)
    assert (kept.low_bits[free] == ALL_BITS).all()
    assert np.array_equal(kept.residues[free], pixels[free])
    assert np.array_equal(kept.low_bits[~free], constraints.low_bits[~free])
    assert np.array_equal(kept.residues[~free], constraints.residues[~free])
