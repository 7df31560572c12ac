"""The quantization layer: noise, rounding, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from iicnet_cli.network.quantization import Quantization
from iicnet_cli.quantize.error_diffusion import round_embedding
from tests.random_arrays import midrange_unrounded, random_filter


def test_quantization_noise() -> None:
    e = 0.1 + 0.8 * torch.rand(64, 64, dtype=torch.float64)
    noise = (Quantization().train()(e) - e) * 255
    assert noise.abs().max() <= 0.5 + 1e-9
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1 / math.sqrt(12)) < 0.02


def test_quantization_rounding() -> None:
    e = torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 100.4 / 255, 1.0, 1.7])
    values = Quantization().eval()(e) * 255
    torch.testing.assert_close(values, torch.tensor([0.0, 0, 0, 1, 100, 255, 255]))


@pytest.mark.parametrize("straight_through", [False, True])
def test_quantization_gradient(straight_through: bool) -> None:
    module = Quantization(straight_through=straight_through).train()
    e = (0.1 + 0.8 * torch.rand(100)).requires_grad_()
    quantized = module(e)
    (gradient,) = torch.autograd.grad(quantized.sum(), e)
    torch.testing.assert_close(gradient, torch.ones_like(e))
    if straight_through:
        torch.testing.assert_close(quantized, (e * 255).round() / 255)
    outside = torch.tensor([-1.0, 2.0])
    assert module(outside).tolist() == [0, 1]


def test_training_noise_is_shaped_as_rounding_errors_are() -> None:
    noise_shaping = random_filter(3, 5)
    unrounded = midrange_unrounded(200, 200, 3, 5)
    errors = round_embedding(unrounded, noise_shaping) - unrounded.values()
    values = torch.rand(1, 3, 200, 200) / 2 + 0.25
    quantization = Quantization(noise_shaping=noise_shaping).train()
    noise = 255 * (quantization(values) - values)[0].permute(1, 2, 0)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3)):
        of_noise, of_errors = (
            np.einsum("yxa,yxb->ab", n[: 200 - y, : 200 - x], n[y:, x:]) / 200**2
            for n in (noise.numpy(), errors)
        )
        np.testing.assert_allclose(of_noise, of_errors, atol=0.006)
    assert noise.square().mean() > 0.1  # unshaped noise has 1/12
