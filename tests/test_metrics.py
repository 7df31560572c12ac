"""PSNR and SSIM compared with closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.pictures.metrics import (
    cap_psnr,
    flat_error,
    mse,
    mse_to_psnr,
    psnr,
    psnr_to_mse,
    ssim,
)
from tests.samples import natural


def test_psnr_of_a_constant_error() -> None:
    a = np.full((8, 9, 3), 100, np.uint8)
    assert mse(a, a + 10) == 100
    assert psnr(a, a + 10) == pytest.approx(10 * math.log10(255**2 / 100))
    assert psnr(a, a) == math.inf
    assert psnr(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)) == 0


def test_ssim_of_flat_pictures_is_the_luminance_term() -> None:
    a, b = np.full((16, 20, 3), 100, np.uint8), np.full((16, 20, 3), 140, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 140 + c1) / (100**2 + 140**2 + c1)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_ssim_against_the_definition_at_one_window() -> None:
    a, b = natural(11, 11, 0)[..., 0], natural(11, 11, 1)[..., 0]
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a = (window * (a - mean_a) ** 2).sum()
    var_b = (window * (b - mean_b) ** 2).sum()
    cov = (window * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    assert ssim(a, b) == pytest.approx(expected)


def test_ssim_of_noisy_pictures_is_lower() -> None:
    a = natural(40, 50, 0)
    noisy = np.clip(a + np.random.default_rng(0).normal(0, 8, a.shape), 0, 255).astype(np.uint8)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, noisy) < 0.99


def test_pictures_must_have_one_shape_and_room_for_a_window() -> None:
    a = natural(40, 50, 0)
    for other in (a[:20], a[..., 0]):
        with pytest.raises(ValueError):
            ssim(a, other)
        with pytest.raises(ValueError):
            psnr(a, other)
    with pytest.raises(ValueError):
        ssim(a[:10], a[:10])


def test_errors_in_flat_areas_are_those_of_the_worst_flat_block() -> None:
    reference = np.full((24, 33, 3), 100, np.uint8)
    reference[:8, :8] = natural(8, 8, 0)  # busy
    assert reference[:8, :8].std(axis=(0, 1)).min() > 2
    changed = reference.copy()
    changed[0, 0] ^= 128  # in the busy block
    changed[23, 32] = 0  # beyond the last whole block
    assert flat_error(changed, reference) == 0
    changed[8:16, 8:16:2, 1] += 6  # 6 in half of the samples of one channel
    changed[16:24, 16:24] += 1
    assert flat_error(changed, reference) == pytest.approx(6 / math.sqrt(6))
    assert flat_error(natural(8, 8, 1), natural(8, 8, 0)) == 0  # nothing is flat
    assert flat_error(reference[..., 0], reference[..., 0]) == 0
    with pytest.raises(ValueError):
        flat_error(reference, reference[:8])


@given(st.floats(1e-6, 255**2))
def test_psnr_and_mse_are_inverse(error: float) -> None:
    assert psnr_to_mse(mse_to_psnr(error)) == pytest.approx(error)


def test_equal_pictures_count_as_100_db_in_means() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    assert cap_psnr(psnr(picture, picture)) == 100
    assert cap_psnr(40.5) == 40.5
