"""Coupling layers, equations (3) to (7), and the subnets h1, g and h2 inside them."""

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
    """Subnet of the paper, [15]: five 3x3 layers; each sees the outputs of all before it.

    Maps (B, inputs, H, W) to (B, outputs, H, W), zero at first.

    Args:
        inputs: input channels.
        outputs: output channels.
        growth: output channels of each of the first four layers.
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
    """Subnet of compact networks: a 3x3 layer, ``depth`` residual 3x3 layers, a 3x3 layer.

    A GELU stands before each layer but the first. Maps (B, inputs, H, W) to (B, outputs, H, W),
    zero at first.

    Args:
        inputs: input channels.
        outputs: output channels.
        width: feature channels inside.
        depth: number of residual layers.
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


class AffineNets(nn.Module):
    """h1 and g of equation (4) as two networks, as in the paper."""

    def __init__(self, inputs: int, outputs: int, subnet: SubnetFactory) -> None:
        super().__init__()
        self.h1 = subnet(inputs, outputs)
        self.g = subnet(inputs, outputs)

    def forward(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """Return (g, h1) of the top part, each (B, outputs, H, W)."""
        return self.g(top), self.h1(top)


class FusedAffineNets(nn.Module):
    """h1 and g of equation (4) as the two halves of one network's output."""

    def __init__(self, inputs: int, outputs: int, subnet: SubnetFactory) -> None:
        super().__init__()
        self.g_h1 = subnet(inputs, 2 * outputs)

    def forward(self, top: Tensor) -> tuple[Tensor, Tensor]:
        """Return (g, h1) of the top part, each (B, outputs, H, W)."""
        g, h1 = self.g_h1(top).chunk(2, dim=1)
        return g, h1


class CouplingBlock(Invertible):
    """One invertible block: two complementary affine couplings, equations (3) to (6).

    ::

        u_t --(+)-----------------+--------- u_t'      u_t' = u_t + h2(u_b)              (3)
               ^                  |
              h2              g, h1
               |                  v
        u_b ---+---------(* exp(sc(g)), + h1)-- u_b'   u_b' = u_b exp(sc(g)) + h1        (4)

    with sc the centred sigmoid 2 sigmoid(x) - 1. Both passes map (B, M, H, W) to the same shape.

    Args:
        channels: M, channels of u.
        split: channels of u_t; the other M - split are u_b.
        subnet: builds the networks inside.
        fused: one network for h1 and g.

    Attributes:
        parts: channels of u_t and of u_b.
        subnet_dtype: data type in which h1, g and h2 compute, under autocast; ``None`` for that of
            u, in which the rest always computes. The inputs of the subnets are the same in both
            passes but for the last bits of u. Where these change the rounding of an activation, the
            inverse errs by about the precision of this type.
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
        """Compute equations (3) and (4)."""
        top, bottom = x.split(self.parts, dim=1)
        top = top + self._h2(bottom)
        g, h1 = self._g_h1(top)
        bottom = torch.addcmul(h1, bottom, torch.exp(_centred_sigmoid(g)))
        return torch.cat((top, bottom), dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        """Compute equations (5) and (6)."""
        top, bottom = y.split(self.parts, dim=1)
        g, h1 = self._g_h1(top)
        bottom = (bottom - h1) * torch.exp(-_centred_sigmoid(g))
        top = top - self._h2(bottom)
        return torch.cat((top, bottom), dim=1)

    def _h2(self, bottom: Tensor) -> Tensor:
        with autocast_to(self.subnet_dtype, bottom.device):
            shift: Tensor = self.h2(bottom)
        return shift.to(bottom.dtype)

    def _g_h1(self, top: Tensor) -> tuple[Tensor, Tensor]:
        with autocast_to(self.subnet_dtype, top.device):
            g, h1 = self.affine(top)
        return g.to(top.dtype), h1.to(top.dtype)


class Accelerator(Protocol):
    """Computes both passes of :class:`CouplingLayers` in another way, for inference."""

    def takes(self, x: Tensor) -> bool:
        """Whether a tensor is worth it."""

    def forward(self, x: Tensor) -> Tensor: ...

    def inverse(self, y: Tensor) -> Tensor: ...


class CouplingLayers(Invertible):
    """f_inn of equation (7): a chain of coupling blocks.

    Both passes map (B, M, H, W) to the same shape.

    Args:
        channels: M.
        split: channels of u_t.
        blocks: number of blocks.
        subnet: builds the networks inside.
        fused: one network for h1 and g.
        mixing: put an :class:`InvertibleConv1x1`, the identity at first, before each block.

    Attributes:
        accelerator: computes both passes in inference mode; ``None`` for the layers themselves.
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
        self.accelerator: Accelerator | None = None

    def forward(self, x: Tensor) -> Tensor:
        accelerator = self._accelerator_for(x)
        if accelerator is not None:
            return accelerator.forward(x)
        for layer in self.layers:
            x = layer(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        accelerator = self._accelerator_for(y)
        if accelerator is not None:
            return accelerator.inverse(y)
        for layer in reversed(self.layers):
            assert isinstance(layer, Invertible)
            y = layer.inverse(y)
        return y

    def _accelerator_for(self, x: Tensor) -> Accelerator | None:
        accelerator = self.accelerator if torch.is_inference_mode_enabled() else None
        return accelerator if accelerator is not None and accelerator.takes(x) else None


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[object]:
    """Return a context of autocast to ``dtype``, or of no change for ``None``."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _centred_sigmoid(x: Tensor) -> Tensor:
    # This equals tanh(x / 2), which takes PyTorch twice as long on a CPU.
    return 2 * torch.sigmoid(x) - 1


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    _zero_bias(layer)
    return layer


def _zero_bias(layer: nn.Conv2d) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
