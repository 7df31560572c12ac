"""Relation module, equation (1): features of each image, seen by all images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iicnet_cli.network.coupling import DenseBlock, autocast_to


class RelationBlock(nn.Module):
    """One direction of the module: r_k = x_k + scale * f_rel^k(x) for each of the K images.

    ::

        x_1 - dense - 1x1 -.            .- 3x3 - 1x1 - dense - * scale + x_1
        x_2 - dense - 1x1 -+- concat ---+- 3x3 - 1x1 - dense - * scale + x_2
        ...

    Args:
        images: K.
        channels: C.
        features: channels of each image's features.
        growth: growth of the dense blocks.
        scale: factor of the residual.

    Attributes:
        subnet_dtype: data type in which f_rel computes, under autocast; ``None`` for that of x.
    """

    def __init__(
        self, images: int, channels: int, features: int, growth: int, scale: float
    ) -> None:
        super().__init__()
        self.subnet_dtype: torch.dtype | None = None
        self.channels = channels
        self.scale = scale
        self.heads = nn.ModuleList(
            nn.Sequential(DenseBlock(channels, features, growth), nn.Conv2d(features, features, 1))
            for _ in range(images)
        )
        self.tails = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features * images, features, 3, padding=1),
                nn.Conv2d(features, features, 1),
                DenseBlock(features, channels, growth),
            )
            for _ in range(images)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, H, W) to the same shape."""
        images = x.split(self.channels, dim=1)
        with autocast_to(self.subnet_dtype, x.device):
            features = torch.cat(
                [head(image) for head, image in zip(self.heads, images, strict=True)], dim=1
            )
            residual = torch.cat([tail(features) for tail in self.tails], dim=1)
        return x + self.scale * residual.to(x.dtype)


class RelationModule(nn.Module):
    """Two relation blocks of the same architecture, one for each direction (section 3.1).

    ``inverse`` is a second block that is learned separately, as in the paper. So it is **only
    approximately** the inverse of ``forward``; this is the one module that is no bijection.

    Args:
        images: K.
        channels: C.
        features: channels of each image's features.
        growth: growth of the dense blocks.
        scale: factor of the residual.
    """

    def __init__(
        self,
        images: int,
        channels: int = 3,
        features: int = 64,
        growth: int = 32,
        scale: float = 0.2,
    ) -> None:
        super().__init__()
        self.forward_block = RelationBlock(images, channels, features, growth, scale)
        self.inverse_block = RelationBlock(images, channels, features, growth, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, H, W) to the same shape, f_rel."""
        return self.forward_block(x)

    def inverse(self, y: Tensor) -> Tensor:
        """(B, N, H, W) to the same shape, f'_rel."""
        return self.inverse_block(y)
