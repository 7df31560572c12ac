"""The whole network: both passes, the reference, sizes, memory format, receptive field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from iicnet_cli.network.config import DetailConfig, IICNetConfig, RelationConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.invertible import Invertible
from iicnet_cli.network.pixels import channels_last, to_pixels, to_tensor
from tests.conftest import natural
from tests.networks import SMALL_CONFIGS, assert_close, random, randomise


@pytest.mark.parametrize(
    ("config", "millions"),
    [(IICNetConfig.paper(5), 6.81), (IICNetConfig.paper(2, blocks=16), 4.40)],
)
def test_parameters_of_table_6(config: IICNetConfig, millions: float) -> None:
    count = sum(p.numel() for p in IICNet(config).parameters())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("name", SMALL_CONFIGS)
def test_an_embedding_is_restored_and_embedded_to_itself(name: str) -> None:
    config = SMALL_CONFIGS[name]
    net = randomise(IICNet(config))
    e = random(2, config.embedding_channels, 8, 12)
    images = net.inverse(e)
    factor = 2 if config.half_size else 1
    assert images.shape == (2, config.images, config.channels, 8 * factor, 12 * factor)
    assert_close(net(images), e)
    assert net.reference(images).shape == e.shape


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (2, {}),
        (5, {}),
        (3, {"subnet": "dense"}),
        (3, {"fused": False}),
        (3, {"blocks": 1}),
        (3, {"half_size": True}),
        (5, {"half_size": True, "downscaling": "pixel_shuffle"}),
        (1, {"half_size": True, "channel_order": "band"}),
        (3, {"half_size": True, "detail": {"blocks": 1}}),
        (2, {"half_size": True, "detail": {}, "downscaling": "none"}),
        (1, {"embedding_channels": 1}),
        (3, {"embedding_channels": 1}),
    ],
)
def test_new_network_shows_the_reference(images: int, changes: dict[str, object]) -> None:
    net = IICNet(IICNetConfig.compact(images, **changes)).double()
    x = random(1, images, 3, 8, 12)
    embedding = net(x)
    torch.testing.assert_close(embedding, net.reference(x), rtol=0, atol=1e-6)
    assert_close(net(net.inverse(embedding)), embedding)


def test_the_reference_is_halved_or_turned_to_luma() -> None:
    x = random(1, 2, 3, 4, 4)
    assert_close(
        IICNet(SMALL_CONFIGS["paper-shuffle"]).reference(x)[0, :, 0, 0],
        x[0, 0, :, :2, :2].mean((1, 2)),
    )
    luma = IICNet(SMALL_CONFIGS["grayscale"]).reference(x[:, :1])
    assert_close(luma[:, 0], 0.299 * x[:, 0, 0] + 0.587 * x[:, 0, 1] + 0.114 * x[:, 0, 2])


@pytest.mark.parametrize("shape", [(1, 4, 3, 8, 8), (1, 3, 1, 8, 8), (3, 3, 8, 8)])
def test_wrong_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected images"):
        IICNet(SMALL_CONFIGS["compact"])(torch.rand(shape))


@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_odd_sizes_are_refused_where_images_are_downscaled(size: tuple[int, int]) -> None:
    net = IICNet(SMALL_CONFIGS["compact"])
    with pytest.raises(ValueError, match="multiples of 2"):
        net(torch.rand(1, 3, 3, *size))
    with pytest.raises(ValueError, match="even"):
        net.inverse(torch.rand(1, 3, *size))
    pixels = IICNet(SMALL_CONFIGS["paper"])
    assert pixels(torch.rand(1, 3, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", ["paper", "compact"])
@torch.inference_mode()
def test_couplings_work_on_tensors_that_are_channels_last(name: str) -> None:
    net = channels_last(IICNet(SMALL_CONFIGS[name]).eval())
    pictures = np.stack([natural(24, 32, i) for i in range(net.config.images)])
    images = to_tensor(pictures[None])
    assert np.array_equal(to_pixels(images)[0], pictures)
    seen: list[Tensor] = []
    for block in net.coupling.layers[:-1]:
        assert isinstance(block, Invertible)
        for call in (block.forward, block.inverse):

            def record(x: Tensor, call: Callable[[Tensor], Tensor] = call) -> Tensor:
                seen.append(x)
                return call(x)

            setattr(block, call.__name__, record)
    net.inverse(net(images))
    assert len(seen) == 2 * (len(net.coupling.layers) - 1)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


HALOS = {
    "compact": (IICNetConfig.compact(2, blocks=2, width=8), True),
    "compact-deep": (IICNetConfig.compact(2, blocks=1, width=8, depth=3), True),
    "compact-half": (IICNetConfig.compact(2, blocks=2, width=8, half_size=True), True),
    "compact-detail": (
        IICNetConfig.compact(2, blocks=1, width=8, half_size=True, detail=DetailConfig(blocks=2)),
        True,
    ),
    "paper": (IICNetConfig.paper(2, blocks=1, relation=False), True),
    "paper-relation": (
        IICNetConfig.paper(2, blocks=1).model_copy(
            update={"relation": RelationConfig(features=4, growth=4)}
        ),
        False,
    ),
    "paper-half-relation": (
        IICNetConfig.paper(2, blocks=1, half_size=True).model_copy(
            update={"relation": RelationConfig(features=4, growth=4)}
        ),
        False,
    ),
}


@pytest.mark.parametrize("name", HALOS)
def test_the_halo_is_the_reach_of_a_pixel(name: str) -> None:
    """A pixel changes nothing beyond the halo and, where the bound is tight, something at it."""
    config, tight = HALOS[name]
    net = randomise(IICNet(config), scale=1.0)
    margin = (config.halo // 4 + 1) * 4
    size = 2 * margin + 4
    reached = 0
    for y, x in ((margin, margin), (margin + 3, margin + 3)):
        images = random(1, 2, 3, size, size)
        changed = images.clone()
        changed[..., y, x] += 0.5
        difference = (net(changed) - net(images)).abs().amax(dim=(0, 1))
        if config.half_size:
            difference = difference.repeat_interleave(2, 0).repeat_interleave(2, 1)
        reached = max(reached, distance(difference, y, x))

        factor = 2 if config.half_size else 1
        embedding = random(1, 3, size // factor, size // factor)
        changed = embedding.clone()
        changed[..., y // factor, x // factor] += 0.5
        difference = (net.inverse(changed) - net.inverse(embedding)).abs().amax(dim=(0, 1, 2))
        reached = max(reached, distance(difference, y, x))
    assert reached <= config.halo
    if tight:
        assert reached == config.halo


def distance(difference: Tensor, y: int, x: int) -> int:
    """Return the largest distance along an axis from (y, x) to a difference."""
    rows, columns = torch.nonzero(difference, as_tuple=True)
    return int(torch.maximum((rows - y).abs(), (columns - x).abs()).max())
