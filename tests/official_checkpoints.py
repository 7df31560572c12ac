"""State dicts of the published architecture, small enough for tests."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from tests.reference_official import SETTINGS, OfficialNet


def with_blocks(config: IICNetConfig, blocks: int) -> IICNetConfig:
    """Change the number of blocks."""
    return IICNetConfig.model_validate({**config.model_dump(), "blocks": blocks})


def official_net(name: str, blocks: int) -> OfficialNet:
    """Build a published architecture in which every weight is random and none is zero."""
    net = OfficialNet(dataclasses.replace(SETTINGS[name], block_num=blocks))
    torch.manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(std=0.3 / fan_in**0.5)
                assert module.bias is not None
                module.bias.normal_(std=0.05)
            elif hasattr(module, "weight"):
                nn.init.orthogonal_(module.weight)
                module.weight.add_(torch.randn_like(module.weight), alpha=0.02)
    return net.eval().requires_grad_(False)


def reverse_channels(images: Tensor) -> Tensor:
    """Turn (B, K, C, H, W) from RGB to BGR or back; single channels stay."""
    return images.flip(-3)


def assert_same(theirs: OfficialNet, ours: IICNet) -> None:
    """Compare both passes in double precision, theirs in BGR, ours in RGB."""
    theirs, ours = theirs.double(), ours.double()
    config = ours.config
    images = torch.rand(1, config.images, 3, 16, 16, dtype=torch.float64)
    embedding = ours(images)
    expected = theirs.embed(reverse_channels(images).flatten(1, 2))
    torch.testing.assert_close(reverse_channels(embedding), expected, rtol=0, atol=1e-9)
    # Another embedding than that of these images, so that no errors cancel.
    other = torch.rand_like(embedding)
    restored = ours.inverse(other)
    expected = theirs.restore(reverse_channels(other)).unflatten(1, (config.images, 3))
    torch.testing.assert_close(reverse_channels(restored), expected, rtol=0, atol=1e-9)
