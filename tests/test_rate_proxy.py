"""The estimate of what errors cost beside an enhancement layer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.training.rate_proxy import rate_proxy


def noise(*shape: int, rms: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Differences of this root mean square, in 8-bit sample values, scaled to 0..1."""
    generator = torch.Generator().manual_seed(seed)
    return rms / 255 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_without_a_threshold_it_is_the_mean_squared_error() -> None:
    difference = noise(2, 4, 3, 32, 48)
    found = rate_proxy(difference, None)
    assert found.shape == (2, 4)
    assert torch.allclose(found, difference.square().mean(dim=(2, 3, 4)))


@given(
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_far_below_the_threshold_energy_counts_as_it_is(
    channels: int, height: int, width: int, seed: int
) -> None:
    # The transform keeps the energy; a twentieth of it is added.
    difference = noise(2, channels, height, width, seed=seed)
    expected = 1.05 * rate_proxy(difference, None)
    assert torch.allclose(rate_proxy(difference, 1e6), expected, rtol=1e-4)


def test_far_above_the_threshold_twice_the_error_costs_one_bit() -> None:
    flat = torch.full((3, 64, 64), 40 / 255, dtype=torch.float64)  # one coefficient in each block
    threshold = 4.0
    costs = torch.stack([rate_proxy(factor * flat, threshold) for factor in (1, 2)]) * 255**2
    energies = torch.tensor([40.0**2, 80.0**2], dtype=torch.float64)
    coefficients_per_sample = 1 / (3 * 16 * 16)
    logarithms = (costs - 0.05 * energies) / (threshold * coefficients_per_sample)
    doubled = (logarithms[1] - logarithms[0]).item()
    assert doubled == pytest.approx(2 * math.log(2), rel=1e-4)


def test_one_tone_costs_less_than_grain_of_the_same_energy() -> None:
    grain = noise(3, 64, 64, rms=6)
    tone = torch.full_like(grain, float(grain.square().mean().sqrt()))
    assert rate_proxy(tone, None).item() == pytest.approx(rate_proxy(grain, None).item())
    assert rate_proxy(tone, 4.0) < 0.4 * rate_proxy(grain, 4.0)


def test_its_gradient_is_correct_and_finite() -> None:
    difference = noise(2, 3, 2, 17, rms=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rate_proxy(x, 8.0) * 255, difference)
    zeros = torch.zeros(3, 16, 16, requires_grad=True)
    rate_proxy(zeros, 8.0).backward()
    assert zeros.grad is not None
    assert zeros.grad.eq(0).all()
