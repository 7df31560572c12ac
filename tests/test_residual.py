"""What errors cost beside an enhancement layer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.training.rate_proxy import cost


def some(*shape: int, size: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Differences of so many levels, root mean square."""
    generator = torch.Generator().manual_seed(seed)
    return size / 255 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_without_a_level_it_is_the_mean_squared_error() -> None:
    difference = some(2, 4, 3, 32, 48)
    found = cost(difference, None)
    assert found.shape == (2, 4)
    assert torch.allclose(found, difference.square().mean(dim=(2, 3, 4)))


@given(
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_far_below_the_level_energy_counts_as_it_is(
    channels: int, height: int, width: int, seed: int
) -> None:
    # The transform keeps energy, so the twentieth that counts twice is all that is added.
    difference = some(2, channels, height, width, seed=seed)
    assert torch.allclose(cost(difference, 1e6), 1.05 * cost(difference, None), rtol=1e-4)


def test_far_above_it_twice_the_error_costs_a_bit() -> None:
    flat = torch.full((3, 64, 64), 40 / 255, dtype=torch.float64)  # a coefficient to a block
    level = 4.0
    costs = torch.stack([cost(factor * flat, level) for factor in (1, 2)]) * 255**2
    energies = torch.tensor([40.0**2, 80.0**2], dtype=torch.float64)
    blocks_to_samples = 1 / (3 * 16 * 16)
    logarithms = (costs - 0.05 * energies) / (level * blocks_to_samples)
    doubled = (logarithms[1] - logarithms[0]).item()
    assert doubled == pytest.approx(2 * math.log(2), rel=1e-4)


def test_what_a_codec_tells_briefly_costs_less() -> None:
    # The same energy, as grain and as one tone.
    grain = some(3, 64, 64, size=6)
    tone = torch.full_like(grain, float(grain.square().mean().sqrt()))
    assert cost(tone, None).item() == pytest.approx(cost(grain, None).item())
    assert cost(tone, 4.0) < 0.4 * cost(grain, 4.0)


def test_its_gradient_is_true_and_finite() -> None:
    difference = some(2, 3, 17, 20, size=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cost(x, 8.0) * 255, difference)
    nothing = torch.zeros(3, 16, 16, requires_grad=True)
    cost(nothing, 8.0).backward()
    assert nothing.grad is not None
    assert nothing.grad.eq(0).all()
