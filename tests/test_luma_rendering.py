"""Pixels with given DCT coefficients."""

from __future__ import annotations

import numpy as np

from iicnet_cli.engines.jpegproof.dct_blocks import forward_dct, inverse_dct, luma_of
from iicnet_cli.engines.jpegproof.luma_rendering import render
from tests.samples import natural


def test_the_transform_is_orthonormal() -> None:
    luma = luma_of(natural(27, 44, 1))
    coefficients = forward_dct(luma)
    assert coefficients.shape == (3, 5, 8, 8)
    assert np.abs(inverse_dct(coefficients) + 128 - luma[:24, :40]).max() < 1e-3
    assert abs(coefficients[0, 0, 0, 0] - 8 * (luma[:8, :8].mean() - 128)) < 1e-3


def test_wanted_coefficients_appear_at_the_lowest_cost() -> None:
    cover = natural(64, 64, 2) // 2 + 64
    mask = np.zeros((8, 8), np.float32)
    mask[1, 2] = mask[3, 0] = 1
    wanted = forward_dct(luma_of(cover)) + 20 * mask
    pixels = render(cover, wanted, mask)
    missed = (forward_dct(luma_of(pixels)) - wanted)[..., mask > 0]
    assert np.abs(missed).max() < 1.0
    change = ((pixels.astype(float) - cover) ** 2).mean()
    assert change < 0.8 * 2 * 20**2 / 64  # equal changes of red, green and blue would cost 1


def test_clipped_pixels_are_made_up_for() -> None:
    cover = natural(64, 64, 2)
    cover[:, :, 2] = 0  # blue cannot become less
    mask = np.zeros((8, 8), np.float32)
    mask[0, 1] = 1
    wanted = forward_dct(luma_of(cover)) - 40 * mask
    missed = (forward_dct(luma_of(render(cover, wanted, mask))) - wanted)[..., 0, 1]
    assert np.abs(missed).mean() < 1
