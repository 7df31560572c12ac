"""Halving of single images that keeps what it can of their detail."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from iicnet_cli.network.coupling import CouplingLayers, ResidualNet
from iicnet_cli.network.downscaling import InvertibleDownscaling


class DetailLayers(nn.Module):
    """(B, K, C, H, W) to (B, K, C, H/2, W/2) and back, each image by itself.

    Haar wavelets and invertible blocks as in IRN (Xiao et al., ECCV 2020): the mean band takes up
    what it can of the other three, and these are left out; the inverse starts with zeros for them
    and predicts them from the mean. So the images come back nearly, and halved images exactly:
    ``forward(inverse(y)) == y``. Not in the paper, whose networks of half size do it all in one.

    Args:
        channels: C.
        blocks: number of coupling blocks, each behind a 1x1 mixing; they start as the identity.
        width: features inside the residual subnets.
    """

    def __init__(self, channels: int, blocks: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.downscaling = InvertibleDownscaling(1, channels)
        subnet = partial(ResidualNet, width=width)
        self.coupling = CouplingLayers(
            4 * channels, channels, blocks, subnet, fused=True, mixing=True
        )

    def forward(self, images: Tensor) -> Tensor:
        bands = self.coupling(self.downscaling(images.flatten(0, 1)))
        return bands[:, : self.channels].unflatten(0, images.shape[:2])

    def inverse(self, halved: Tensor) -> Tensor:
        """(B, K, C, H/2, W/2) to (B, K, C, H, W)."""
        mean = halved.flatten(0, 1)
        lost = mean.new_zeros(len(mean), 3 * self.channels, *mean.shape[2:])
        images = self.downscaling.inverse(self.coupling.inverse(torch.cat((mean, lost), dim=1)))
        return images.unflatten(0, halved.shape[:2])
