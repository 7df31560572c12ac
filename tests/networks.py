"""Small networks and tensors for tests of the network's modules."""

from __future__ import annotations

import math
from functools import partial
from typing import TypeVar

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from iicnet_cli.network.config import DetailConfig, IICNetConfig
from iicnet_cli.network.coupling import DenseBlock, ResidualNet, SubnetFactory
from iicnet_cli.network.invertible import Invertible, InvertibleConv1x1

Module = TypeVar("Module", bound=nn.Module)

few_examples = settings(max_examples=6, deadline=None)
even_sizes = st.sampled_from((2, 4, 6, 10))
batch_sizes = st.integers(1, 3)
assert_close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)

SUBNETS: dict[str, SubnetFactory] = {
    "dense": partial(DenseBlock, growth=8),
    "residual": partial(ResidualNet, width=8, depth=1),
}

SMALL_CONFIGS = {
    "compact": IICNetConfig.compact(3, blocks=2, width=8),
    "compact-dense": IICNetConfig.compact(2, blocks=2, width=8, subnet="dense"),
    "compact-half": IICNetConfig.compact(3, blocks=2, width=8, half_size=True),
    "compact-detail": IICNetConfig.compact(
        3, blocks=2, width=8, half_size=True, detail=DetailConfig(blocks=2, width=8)
    ),
    "paper": IICNetConfig.paper(3, blocks=2, relation=False),
    "paper-band": IICNetConfig.paper(
        3, blocks=1, half_size=True, channel_order="band", relation=False
    ),
    "paper-shuffle": IICNetConfig.paper(
        2, blocks=1, half_size=True, downscaling="pixel_shuffle", relation=False
    ),
    "grayscale": IICNetConfig.paper(1, blocks=2, embedding_channels=1, relation=False),
    "one-channel": IICNetConfig.compact(3, blocks=2, width=8, channels=1, embedding_channels=1),
}
"""Small configurations of every kind."""


def randomise(module: Module, scale: float = 0.3) -> Module:
    """Give a module random weights in double precision; mixings stay well-conditioned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.normal_(std=scale / math.sqrt(part.weight[0].numel()))
                if part.bias is not None:
                    part.bias.normal_(std=0.1)
            elif isinstance(part, InvertibleConv1x1):
                nn.init.orthogonal_(part.weight)
                part.weight.add_(torch.randn_like(part.weight), alpha=0.02)
    return module.double().eval().requires_grad_(False)


def random(*shape: int) -> Tensor:
    """Random values in 0..1, double precision."""
    return torch.rand(*shape, dtype=torch.float64)


def assert_inverts(module: nn.Module, x: Tensor, y: Tensor) -> None:
    """Both compositions of the passes must be the identity, on x and on y."""
    assert isinstance(module, Invertible)
    assert_close(module.inverse(module(x)), x)
    assert_close(module(module.inverse(y)), y)
