"""Small networks and groups of pictures for the tests of the engines."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from tests.samples import Pixels, natural

TRAINING_STEPS = 100


@cache
def small_network(images: int = 2, *, half_size: bool = False) -> IICNet:
    """A network of one block, trained for about two seconds: embeddings near 34 dB.

    Its receptive field is 13 pixels, so that even small pictures make several tiles.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = IICNet(IICNetConfig.compact(images, blocks=1, width=8, half_size=half_size))
        groups = [group_of(images, 48, 48, seed=images * i) for i in range(4)]
        pictures = to_tensor(np.stack(groups))
        optimizer = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(TRAINING_STEPS):
            embedding = net(pictures)
            noisy = embedding + (torch.rand_like(embedding) - 0.5) / 255
            loss = (embedding - net.reference(pictures)).square().mean()
            loss = loss + (net.inverse(noisy) - pictures).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


@cache
def small_runner(images: int = 2, *, half_size: bool = False) -> Runner:
    """A small network on the CPU, with error diffusion."""
    net = small_network(images, half_size=half_size)
    return Runner(net, noise_shaping=floyd_steinberg())


def floyd_steinberg() -> NoiseShapingFilter:
    """A filter that diffuses nine tenths of each error within its channel."""
    weights = 0.9 * np.array([0, 7, 1, 5, 3]) / 16
    return (weights[:, None, None] * np.eye(3)).astype(np.float32)


def group_of(images: int, height: int, width: int, seed: int = 20) -> Pixels:
    """Different pictures (images, height, width, 3)."""
    return np.stack([natural(height, width, seed + i) for i in range(images)])


def mark_of(images: int, *, motion: bytes = b"", padding: tuple[int, int] = (0, 0)) -> Mark:
    """The mark of a group of hidden photos."""
    return Mark(task=5, model=1, images=images, valid=images, motion=motion, padding=padding)


def layer_bits(mark: Mark) -> int:
    """Payload bits a pixel of the enhancement layer; 0 without one."""
    return mark.code.trellis_bits if mark.enhancement else 0


def mark_with_region(images: int, region: StaticRegion, *, motion: bytes = b"") -> Mark:
    """The mark of a group with a static region."""
    return replace(mark_of(images, motion=motion), static_region_bytes=region.to_bytes())


def static_region_of(mark: Mark) -> StaticRegion | None:
    """The static region that a mark tells of."""
    return mark.static_region
