"""Networks that run over whole pictures, for tests of inference and of the network engine."""

from __future__ import annotations

from functools import cache

import torch

from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.zoo import find


@cache
def runner_of(name: str) -> Runner:
    """A checkpoint on the CPU; the tiny one, where there is a tiny one of that name."""
    checkpoint = find(name)
    return Runner(checkpoint.load(), noise_shaping=checkpoint.noise_shaping)


def random_net(config: IICNetConfig, seed: int = 0) -> IICNet:
    """An untrained network whose layers all do something."""
    torch.manual_seed(seed)
    net = IICNet(config).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    return net
