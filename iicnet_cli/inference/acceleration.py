"""Lets networks use :mod:`fast_coupling` on a CPU, which is loaded only when it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from iicnet_cli.network.coupling import (
    CouplingBlock,
    CouplingLayers,
    FusedAffineNets,
    ResidualNet,
)
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.invertible import InvertibleConv1x1

if TYPE_CHECKING:
    from iicnet_cli.inference.fast_coupling import FastCoupling

MIN_PIXELS = 5 << 10
"""Tensors with fewer pixels do not save the tenths of a second that loading Numba takes. Those of
the rows from which the layer of a picture of 512x512 pixels is planned have as many."""


def accelerate(net: IICNet) -> None:
    """Let a network on a CPU compute large tensors faster in inference mode, if it can."""
    if is_supported(net.coupling):
        net.coupling.accelerator = _LoadedWhenUsed(net.coupling)


def is_supported(layers: CouplingLayers) -> bool:
    """Whether these are mixings and fused couplings with residual subnets, in turn."""
    pairs = list(zip(layers.layers[::2], layers.layers[1::2], strict=False))
    return len(layers.layers) == 2 * len(pairs) and all(
        isinstance(mixing, InvertibleConv1x1)
        and isinstance(block, CouplingBlock)
        and isinstance(block.affine, FusedAffineNets)
        and isinstance(block.h2, ResidualNet)
        for mixing, block in pairs
    )


class _LoadedWhenUsed:
    """The accelerator of some layers."""

    def __init__(self, layers: CouplingLayers) -> None:
        self._layers = layers
        self._loaded: FastCoupling | None = None

    def takes(self, x: Tensor) -> bool:
        return x.shape[-2] * x.shape[-1] >= MIN_PIXELS

    def forward(self, x: Tensor) -> Tensor:
        return self._load().forward(x)

    def inverse(self, y: Tensor) -> Tensor:
        return self._load().inverse(y)

    def _load(self) -> FastCoupling:
        if self._loaded is None:
            from iicnet_cli.inference.fast_coupling import FastCoupling

            self._loaded = FastCoupling(self._layers)
        return self._loaded
