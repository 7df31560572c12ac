"""Detail layers: halve single images and hide part of the lost detail in the result."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from iicnet_cli.network.coupling import CouplingLayers, ResidualNet
from iicnet_cli.network.downscaling import InvertibleDownscaling


class DetailLayers(nn.Module):
    """(B, K, C, H, W) to (B, K, C, H / 2, W / 2) and back, each image by itself.

    ::

        image -- Haar -- coupling layers --> mean band ----> halved image
                                        '--> other bands     dropped; zeros on the way back

    The coupling layers hide in the mean band what they can of the other three (as in IRN, Xiao et
    al., ECCV 2020). Images come back nearly, halved images exactly: ``forward(inverse(y)) == y``.
    The layers are not in the paper, whose networks of half size have no separate step for this.

    Args:
        channels: C.
        blocks: number of coupling blocks, each behind a 1x1 mixing; they start as the identity.
        width: feature channels of the residual subnets.
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
        """(B, K, C, H, W) to (B, K, C, H / 2, W / 2)."""
        bands = self.coupling(self.downscaling(images.flatten(0, 1)))
        return bands[:, : self.channels].unflatten(0, images.shape[:2])

    def inverse(self, halved: Tensor) -> Tensor:
        """(B, K, C, H / 2, W / 2) to (B, K, C, H, W)."""
        mean = halved.flatten(0, 1)
        dropped = mean.new_zeros(len(mean), 3 * self.channels, *mean.shape[2:])
        images = self.downscaling.inverse(self.coupling.inverse(torch.cat((mean, dropped), dim=1)))
        return images.unflatten(0, halved.shape[:2])
