"""Muon, the distribution of parameters among the optimizers, and the learning rate's schedule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.training.optimizer import (
    Muon,
    build_optimizers,
    learning_rate_factor,
    orthogonalise,
)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 12, 40), (2, 40, 12), (1, 1, 9)])
def test_orthogonalise_makes_singular_values_alike(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    # Singular values from 0.1 to 1, far from equal and far from zero.
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = torch.linspace(1.0, 0.1, u.shape[-1])
    result = orthogonalise(7 * u * spread @ v)
    assert result.shape == shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # The singular vectors stay the same.
    inner = u.mT @ result @ v.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)))


def test_orthogonalise_keeps_zeros() -> None:
    assert torch.equal(orthogonalise(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def test_muon_reduces_a_quadratic() -> None:
    torch.manual_seed(0)
    kernels = [nn.Parameter(torch.randn(8, 4, 3, 3)), nn.Parameter(torch.randn(8, 4, 3, 3))]
    unused = nn.Parameter(torch.randn(5, 5))
    optimizer = Muon([*kernels, unused], lr=0.05)
    before = unused.detach().clone()

    def loss() -> Tensor:
        return torch.stack([kernel.square().sum() for kernel in kernels]).sum()

    start = loss().item()
    loss().backward()
    optimizer.step()
    assert loss().item() < start
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.1 * start
    assert torch.equal(unused, before)


def test_muon_step_by_hand() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 2, 1, 1))
    before, gradient = kernel.detach().clone(), torch.randn(6, 2, 1, 1)
    kernel.grad = gradient.clone()
    Muon([kernel], lr=0.1, weight_decay=0.5).step()
    # The first Nesterov momentum is parallel to the gradient, and its length does not count.
    update = orthogonalise(gradient.reshape(1, 6, 2))[0].reshape(6, 2, 1, 1)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(6) * math.sqrt(3) * update
    torch.testing.assert_close(kernel.detach(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="closure"):
        Muon([kernel], lr=0.1).step(lambda: 0.0)


@pytest.mark.parametrize("config", [IICNetConfig.compact(2), IICNetConfig.paper(2, blocks=1)])
def test_every_parameter_has_one_optimizer(config: IICNetConfig) -> None:
    net = IICNet(config)
    muon, adamw = build_optimizers(net, 5e-3, 2e-3, 0.01)
    groups = [
        [id(p) for group in optimizer.param_groups for p in group["params"]]
        for optimizer in (muon, adamw)
    ]
    assert sorted(groups[0] + groups[1]) == sorted(id(p) for p in net.parameters())
    assert {id(p) for name, p in net.named_parameters() if name.endswith("bias")} == set(groups[1])
    assert muon.param_groups[0]["lr"] == 5e-3
    assert adamw.param_groups[0]["lr"] == 2e-3


@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5])
def test_the_learning_rate_rises_during_the_warmup_and_falls_to_zero(warmup: float) -> None:
    factors = [learning_rate_factor(i / 100, warmup) for i in range(101)]
    peak = round(100 * warmup)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[peak] == pytest.approx(1)
    assert factors[-1] == pytest.approx(0)
    assert factors[0] > 0
