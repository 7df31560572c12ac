"""A tiny network that needs no training: it restores every image as a copy of the embedding.

Its embedding is the reference image. With motion compensation, a frame is then restored as its
prediction from the other frames; so whether alignment works shows without trained weights.
"""

from __future__ import annotations

import torch

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.invertible import InvertibleConv1x1


def copying_network(images: int, *, half_size: bool = False) -> IICNet:
    """Build the network for this many images, in evaluation mode."""
    net = IICNet(IICNetConfig.compact(images, blocks=1, width=4, half_size=half_size))
    mixing = net.coupling.layers[0]
    assert isinstance(mixing, InvertibleConv1x1)
    image = net.config.working_channels // images
    with torch.no_grad():
        # The network starts with the other images in the differences between the preliminary
        # embeddings. This puts their differences from the reference there instead.
        mixing.weight[:, :image] -= mixing.weight.reshape(-1, images, image)[:, 1:].sum(1)
    return net.eval()
