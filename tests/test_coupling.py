"""Coupling blocks and layers, equations (3) to (7)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from iicnet_cli.network.coupling import CouplingBlock, CouplingLayers
from tests.networks import (
    SUBNETS,
    assert_close,
    assert_inverts,
    batch_sizes,
    even_sizes,
    few_examples,
    random,
    randomise,
)


@few_examples
@given(
    height=even_sizes,
    width=even_sizes,
    batch=batch_sizes,
    top=st.integers(1, 8),
    bottom=st.integers(1, 12),
)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("subnet", SUBNETS)
def test_coupling_block_inverts(
    subnet: str, fused: bool, height: int, width: int, batch: int, top: int, bottom: int
) -> None:
    block = randomise(CouplingBlock(top + bottom, top, SUBNETS[subnet], fused=fused))
    x = random(batch, top + bottom, height, width)
    assert (block(x) - x).abs().min() > 0
    assert_inverts(block, x, random(*x.shape))


@few_examples
@given(height=even_sizes, width=even_sizes, batch=batch_sizes, images=st.integers(2, 4))
@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("subnet", SUBNETS)
def test_coupling_layers_invert(
    subnet: str, mixing: bool, height: int, width: int, batch: int, images: int
) -> None:
    channels = 3 * images
    layers = randomise(CouplingLayers(channels, 3, 3, SUBNETS[subnet], fused=True, mixing=mixing))
    x = random(batch, channels, height, width)
    assert_inverts(layers, x, random(*x.shape))


def test_new_coupling_is_the_identity() -> None:
    for subnet in SUBNETS.values():
        layers = CouplingLayers(9, 3, 2, subnet, mixing=True).double()
        x = random(1, 9, 6, 4)
        assert_close(layers(x), x)


class Times(nn.Module):
    """Replaces h1, g and h2 by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_coupling_equations() -> None:
    block = CouplingBlock(2, 1, lambda inputs, outputs: Times(0.0))
    block.h2, block.affine.h1, block.affine.g = Times(2.0), Times(3.0), Times(0.5)
    top, bottom = 0.25, 0.5
    new_top = top + 2.0 * bottom  # (3)
    centred = 2 / (1 + math.exp(-0.5 * new_top)) - 1
    new_bottom = bottom * math.exp(centred) + 3.0 * new_top  # (4)
    u = torch.tensor([top, bottom], dtype=torch.float64).reshape(1, 2, 1, 1)
    v = torch.tensor([new_top, new_bottom], dtype=torch.float64).reshape(1, 2, 1, 1)
    assert_close(block(u), v)
    assert_close(block.inverse(v), u)  # (5), (6)


def test_fused_nets_are_g_then_h1() -> None:
    block = randomise(CouplingBlock(5, 2, SUBNETS["residual"], fused=True))
    x = random(1, 5, 4, 4)
    top = x[:, :2] + block.h2(x[:, 2:])
    g, h1 = block.affine.g_h1(top).split(3, dim=1)
    expected = x[:, 2:] * torch.exp(2 * torch.sigmoid(g) - 1) + h1
    assert_close(block(x), torch.cat((top, expected), dim=1))
