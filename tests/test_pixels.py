"""Between tensors and pictures."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.network.pixels import tensor_to_fixed_point, to_levels, to_pixels
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point


@given(st.lists(st.floats(-600, 600, width=32), min_size=1, max_size=30))
def test_fixed_point_rounds_as_the_tensor_does(values: list[float]) -> None:
    images = torch.tensor(values).reshape(-1, 1, 1, 1) / 255
    pixels, levels = to_pixels(images), to_levels(images.clamp(-512 / 255, 512 / 255))
    clamped = tensor_to_fixed_point(images, clamped=True)
    assert np.array_equal(from_fixed_point(clamped, np.uint8), pixels)
    free = tensor_to_fixed_point(images, clamped=False)
    assert np.array_equal(from_fixed_point(free, np.int16), levels)
    assert free.min() >= -512 * FRACTION and free.max() <= 512 * FRACTION
