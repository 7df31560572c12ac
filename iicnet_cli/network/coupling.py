"""Coupling layers, equations (3) to (7), and the small networks h1, g and h2 inside them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.network.invertible import Invertible, InvertibleConv1x1


class SubnetFactory(Protocol):
    """Builds a network from (B, inputs, H, W) to (B, outputs, H, W)."""

    def __call__(self, inputs: int, outputs: int) -> nn.Module: ...


class DenseBlock(nn.Module):
    """Dense block of the paper: four 3x3 layers that see all before them, then a fifth, [15].

    Args:
        inputs: channels in.
        outputs: channels out; the last layer starts at zero.
        growth: channels that each layer adds.
    """

    def __init__(self, inputs: int, outputs: int, growth: int = 32) -> None:
        super().__init__()
        layers = [nn.Conv2d(inputs + i * growth, growth, 3, padding=1) for i in range(4)]
        for layer in layers:
            nn.init.xavier_normal_(layer.weight, gain=0.1)
            _zero_bias(layer)
        self.layers = nn.ModuleList(layers)
        self.last = _zero(nn.Conv2d(inputs + 4 * growth, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat((x, F.leaky_relu(layer(x), 0.2)), dim=1)
        return self.last(x)


class ResidualNet(nn.Module):
    """3x3 in, ``depth`` residual 3x3 layers, 3x3 out (starts at zero), GELU before each.

    Args:
        inputs: channels in.
        outputs: channels out.
        width: channels inside.
        depth: residual layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32, depth: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.last = _zero(nn.Conv2d(width, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.body:
            x = x + layer(F.gelu(x))
        return self.last(F.gelu(x))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    _zero_bias(layer)
    return layer


def _zero_bias(layer: nn.Conv2d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def computing_in(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to ``dtype``; ``None`` leaves everything in the precision of the inputs."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


class AffineNets(nn.Module):
    """h1 and g of equation (4) as two networks, as in the paper."""

    def __init__(self, inputs: int, outputs: int, subnet: SubnetFactory) -> None:
        super().__init__()
        self.h1 = subnet(inputs, outputs)
        self.g = subnet(inputs, outputs)

    def forward(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (g, h1) of the top part."""
        return self.g(top), self.h1(top)


class FusedAffineNets(nn.Module):
    """h1 and g of equation (4) as the two halves of one network's output."""

    def __init__(self, inputs: int, outputs: int, subnet: SubnetFactory) -> None:
        super().__init__()
        self.g_h1 = subnet(inputs, 2 * outputs)

    def forward(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (g, h1) of the top part."""
        g, h1 = self.g_h1(top).chunk(2, dim=1)
        return g, h1


def _sc(g: Tensor) -> Tensor:
    # Equal to tanh(g / 2), which PyTorch computes half as fast on a CPU.
    return 2 * torch.sigmoid(g) - 1


class CouplingBlock(Invertible):
    """One invertible block: two complementary affine couplings, equations (3) to (6).

    ::

        u_t --(+)-----------------+--------- u_t'      u_t' = u_t + h2(u_b)              (3)
               ^                  |
              h2              g, h1
               |                  v
        u_b ---+---------(* exp(sc(g)), + h1)-- u_b'   u_b' = u_b exp(sc(g)) + h1        (4)

    with sc the centred sigmoid 2 sigmoid(x) - 1.

    Args:
        channels: M, channels of u.
        split: channels of u_t; the other M - split are u_b.
        subnet: builds the networks inside.
        fused: one network for h1 and g.

    Attributes:
        subnet_dtype: what h1, g and h2 compute in, under autocast; ``None``: in that of u, as all
            the rest always is. Both passes then still give the networks the same values, but for
            the last bits of u; where these change how an activation is rounded, the inverse errs
            by a rounding of the lower precision.
    """

    def __init__(
        self, channels: int, split: int, subnet: SubnetFactory, *, fused: bool = False
    ) -> None:
        super().__init__()
        self.subnet_dtype: torch.dtype | None = None
        self.parts = (split, channels - split)
        top, bottom = self.parts
        self.h2 = subnet(bottom, top)
        nets = FusedAffineNets if fused else AffineNets
        self.affine = nets(top, bottom, subnet)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = x.split(self.parts, dim=1)
        top = top + self._h2(bottom)
        g, h1 = self._g_h1(top)
        bottom = torch.addcmul(h1, bottom, torch.exp(_sc(g)))
        return torch.cat((top, bottom), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """Equations (5) and (6)."""
        top, bottom = y.split(self.parts, dim=1)
        g, h1 = self._g_h1(top)
        bottom = (bottom - h1) * torch.exp(-_sc(g))
        top = top - self._h2(bottom)
        return torch.cat((top, bottom), dim=1)

    def _h2(self, bottom: Tensor) -> Tensor:
        with computing_in(self.subnet_dtype, bottom.device):
            shift: Tensor = self.h2(bottom)
        return shift.to(bottom.dtype)

    def _g_h1(self, top: Tensor) -> tuple[Tensor, Tensor]:
        with computing_in(self.subnet_dtype, top.device):
            g, h1 = self.affine(top)
        return g.to(top.dtype), h1.to(top.dtype)


class CouplingLayers(Invertible):
    """f_inn of equation (7): blocks in a row, each behind a learned 1x1 mixing if so configured.

    Args:
        channels: M.
        split: channels of u_t.
        blocks: number of blocks.
        subnet: builds the networks inside.
        fused: one network for h1 and g.
        mixing: put an :class:`InvertibleConv1x1`, starting at identity, before each block.
    """

    def __init__(
        self,
        channels: int,
        split: int,
        blocks: int,
        subnet: SubnetFactory,
        *,
        fused: bool = False,
        mixing: bool = False,
    ) -> None:
        super().__init__()
        layers: list[Invertible] = []
        for _ in range(blocks):
            if mixing:
                layers.append(InvertibleConv1x1(channels))
            layers.append(CouplingBlock(channels, split, subnet, fused=fused))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            assert isinstance(layer, Invertible)
            y = layer.inverse(y)
        return y
