"""Every module inverts, computes its equation, and the whole keeps what its configuration says."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from iicnet_cli.network.config import DetailConfig, IICNetConfig, RelationConfig
from iicnet_cli.network.coupling import (
    CouplingBlock,
    CouplingLayers,
    DenseBlock,
    ResidualNet,
    SubnetFactory,
)
from iicnet_cli.network.downscaling import InvertibleDownscaling
from iicnet_cli.network.expansion import expand_network
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.invertible import Invertible, InvertibleConv1x1
from iicnet_cli.network.pixels import channels_last, to_pixels, to_tensor
from iicnet_cli.network.quantization import Quantization
from iicnet_cli.network.relation import RelationBlock, RelationModule
from iicnet_cli.network.squeeze import ChannelSqueeze
from tests.conftest import natural

few = settings(max_examples=6, deadline=None)
evens = st.sampled_from((2, 4, 6, 10))
batches = st.integers(1, 3)
close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def randomised(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """In double, with no weight zero; mixings stay well-conditioned."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.normal_(std=scale / math.sqrt(part.weight[0].numel()))
                if part.bias is not None:
                    part.bias.normal_(std=0.1)
            elif isinstance(part, InvertibleConv1x1):
                nn.init.orthogonal_(part.weight)
                part.weight.add_(torch.randn_like(part.weight), alpha=0.02)
    return module.double().eval().requires_grad_(False)


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def assert_inverts(module: nn.Module, x: Tensor, y: Tensor) -> None:
    assert isinstance(module, Invertible)
    close(module.inverse(module(x)), x)
    close(module(module.inverse(y)), y)


SUBNETS: dict[str, SubnetFactory] = {
    "dense": partial(DenseBlock, growth=8),
    "residual": partial(ResidualNet, width=8, depth=1),
}


# Parameters, Table 6.


@pytest.mark.parametrize(
    ("config", "millions"),
    [(IICNetConfig.paper(5), 6.81), (IICNetConfig.paper(2, blocks=16), 4.40)],
)
def test_parameters_of_table_6(config: IICNetConfig, millions: float) -> None:
    count = sum(p.numel() for p in IICNet(config).parameters())
    assert round(count / 1e6, 2) == millions


# Every module is a bijection.


@few
@given(height=evens, width=evens, batch=batches, channels=st.integers(1, 20))
@pytest.mark.parametrize("init", ["identity", "orthogonal"])
def test_conv1x1_inverts(init: str, height: int, width: int, batch: int, channels: int) -> None:
    fresh = InvertibleConv1x1(channels, init).double()
    x = random(batch, channels, height, width)
    assert_inverts(fresh, x, x)
    if init == "identity":
        close(fresh(x), x)
    assert_inverts(randomised(fresh), x, random(*x.shape))


@few
@given(height=evens, width=evens, batch=batches, images=st.integers(1, 5))
@pytest.mark.parametrize("kind", ["haar", "pixel_shuffle"])
@pytest.mark.parametrize("order", ["image", "band"])
@pytest.mark.parametrize("channels", [1, 3])
def test_downscaling_inverts(
    kind: str, order: str, channels: int, height: int, width: int, batch: int, images: int
) -> None:
    module = InvertibleDownscaling(images, channels, kind, order).double()  # type: ignore[arg-type]
    total = images * channels
    x = random(batch, total, height, width)
    y = random(batch, 4 * total, height // 2, width // 2)
    assert module(x).shape == y.shape
    assert_inverts(module, x, y)


@few
@given(height=evens, width=evens, batch=batches, top=st.integers(1, 8), bottom=st.integers(1, 12))
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("subnet", SUBNETS)
def test_coupling_block_inverts(
    subnet: str, fused: bool, height: int, width: int, batch: int, top: int, bottom: int
) -> None:
    block = randomised(CouplingBlock(top + bottom, top, SUBNETS[subnet], fused=fused))
    x = random(batch, top + bottom, height, width)
    assert (block(x) - x).abs().min() > 0
    assert_inverts(block, x, random(*x.shape))


@few
@given(height=evens, width=evens, batch=batches, images=st.integers(2, 4))
@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("subnet", SUBNETS)
def test_coupling_layers_invert(
    subnet: str, mixing: bool, height: int, width: int, batch: int, images: int
) -> None:
    channels = 3 * images
    layers = randomised(CouplingLayers(channels, 3, 3, SUBNETS[subnet], fused=True, mixing=mixing))
    x = random(batch, channels, height, width)
    assert_inverts(layers, x, random(*x.shape))


def test_new_coupling_is_the_identity() -> None:
    for subnet in SUBNETS.values():
        layers = CouplingLayers(9, 3, 2, subnet, mixing=True).double()
        x = random(1, 9, 6, 4)
        close(layers(x), x)


# The equations, by hand.


def test_haar_on_one_cell() -> None:
    a, b, c, d = 1.0, 2.0, 4.0, 8.0
    cell = torch.tensor([[[[a, b], [c, d]]]])
    bands = InvertibleDownscaling(1, 1)(cell).flatten()
    expected = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
    torch.testing.assert_close(4 * bands, torch.tensor(expected))


@pytest.mark.parametrize("kind", ["haar", "pixel_shuffle"])
def test_channel_orders(kind: str) -> None:
    x = random(1, 6, 2, 2)  # two images of three channels
    by_image = InvertibleDownscaling(2, 3, kind, "image").double()(x)  # type: ignore[arg-type]
    by_band = InvertibleDownscaling(2, 3, kind, "band").double()(x)  # type: ignore[arg-type]
    close(by_image.unflatten(1, (2, 4, 3)).transpose(1, 2), by_band.unflatten(1, (4, 2, 3)))
    alone = InvertibleDownscaling(1, 3, kind).double()(x[:, 3:])  # type: ignore[arg-type]
    close(by_image[:, 12:], alone)
    mean = x.mean(dim=(2, 3), keepdim=True)
    close(by_band[:, :6], mean if kind == "haar" else x[:, :, :1, :1])


class Times(nn.Module):
    """Stands in for h1, g and h2: a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_coupling_equations() -> None:
    block = CouplingBlock(2, 1, lambda inputs, outputs: Times(0.0))
    block.h2, block.affine.h1, block.affine.g = Times(2.0), Times(3.0), Times(0.5)
    top, bottom = 0.25, 0.5
    new_top = top + 2.0 * bottom  # (3)
    centred = 2 / (1 + math.exp(-0.5 * new_top)) - 1
    new_bottom = bottom * math.exp(centred) + 3.0 * new_top  # (4)
    u = torch.tensor([top, bottom], dtype=torch.float64).reshape(1, 2, 1, 1)
    v = torch.tensor([new_top, new_bottom], dtype=torch.float64).reshape(1, 2, 1, 1)
    close(block(u), v)
    close(block.inverse(v), u)  # (5), (6)


def test_fused_nets_are_g_then_h1() -> None:
    block = randomised(CouplingBlock(5, 2, SUBNETS["residual"], fused=True))
    assert isinstance(block, CouplingBlock)
    x = random(1, 5, 4, 4)
    top = x[:, :2] + block.h2(x[:, 2:])
    g, h1 = block.affine.g_h1(top).split(3, dim=1)
    expected = x[:, 2:] * torch.exp(2 * torch.sigmoid(g) - 1) + h1
    close(block(x), torch.cat((top, expected), dim=1))


def test_relation_equation() -> None:
    block = randomised(RelationBlock(2, 3, features=4, growth=4, scale=0.2))
    assert isinstance(block, RelationBlock)
    x = random(1, 6, 6, 6)
    features = torch.cat((block.heads[0](x[:, :3]), block.heads[1](x[:, 3:])), dim=1)
    close(block(x)[:, 3:], x[:, 3:] + 0.2 * block.tails[1](features))


def test_relation_module_has_two_symmetric_blocks() -> None:
    module = RelationModule(2, 3, features=4, growth=4)
    x = torch.rand(1, 6, 6, 6)
    assert torch.equal(module(x), module.forward_block(x))
    assert torch.equal(module.inverse(x), module.inverse_block(x))
    # New, both are the identity: the last layers of their tails start at zero.
    torch.testing.assert_close(module.inverse(module(x)), x)


# Squeeze and quantization.


@few
@given(batch=batches, copies=st.integers(1, 9), squeezed=st.sampled_from((1, 3, 12)))
def test_squeeze_is_a_projection(batch: int, copies: int, squeezed: int) -> None:
    module = ChannelSqueeze(copies * squeezed, squeezed)
    e = random(batch, squeezed, 4, 6)
    close(module(module.inverse(e)), e)
    x = random(batch, copies * squeezed, 4, 6)
    close(module(x), torch.stack(x.split(squeezed, dim=1)).mean(dim=0))  # (8)
    close(module(module.inverse(module(x))), module(x))


def test_squeeze_refuses_a_remainder() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        ChannelSqueeze(10, 3)


def test_quantization_noise() -> None:
    e = 0.1 + 0.8 * torch.rand(64, 64, dtype=torch.float64)
    noise = (Quantization().train()(e) - e) * 255
    assert noise.abs().max() <= 0.5 + 1e-9
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1 / math.sqrt(12)) < 0.02


def test_quantization_rounding() -> None:
    e = torch.tensor([-0.3, 0.0, 0.4 / 255, 0.6 / 255, 100.4 / 255, 1.0, 1.7])
    levels = Quantization().eval()(e) * 255
    torch.testing.assert_close(levels, torch.tensor([0.0, 0, 0, 1, 100, 255, 255]))


@pytest.mark.parametrize("straight_through", [False, True])
def test_quantization_gradient(straight_through: bool) -> None:
    module = Quantization(straight_through=straight_through).train()
    e = (0.1 + 0.8 * torch.rand(100)).requires_grad_()
    quantized = module(e)
    (gradient,) = torch.autograd.grad(quantized.sum(), e)
    torch.testing.assert_close(gradient, torch.ones_like(e))
    if straight_through:
        torch.testing.assert_close(quantized, (e * 255).round() / 255)
    outside = torch.tensor([-1.0, 2.0])
    assert module(outside).tolist() == [0, 1]


# The whole network.

SMALL = {
    "compact": IICNetConfig.compact(3, blocks=2, width=8),
    "compact-dense": IICNetConfig.compact(2, blocks=2, width=8, subnet="dense"),
    "compact-half": IICNetConfig.compact(3, blocks=2, width=8, half_size=True),
    "compact-detail": IICNetConfig.compact(
        3, blocks=2, width=8, half_size=True, detail=DetailConfig(blocks=2, width=8)
    ),
    "paper": IICNetConfig.paper(3, blocks=2, relation=False),
    "paper-band": IICNetConfig.paper(
        3, blocks=1, half_size=True, channel_order="band", relation=False
    ),
    "paper-shuffle": IICNetConfig.paper(
        2, blocks=1, half_size=True, downscaling="pixel_shuffle", relation=False
    ),
    "grayscale": IICNetConfig.paper(1, blocks=2, embedding_channels=1, relation=False),
    "one-channel": IICNetConfig.compact(3, blocks=2, width=8, channels=1, embedding_channels=1),
}


@pytest.mark.parametrize("name", SMALL)
def test_embedding_survives_the_way_there_and_back(name: str) -> None:
    config = SMALL[name]
    net = randomised(IICNet(config))
    assert isinstance(net, IICNet)
    e = random(2, config.embedding_channels, 8, 12)
    images = net.inverse(e)
    factor = 2 if config.half_size else 1
    assert images.shape == (2, config.images, config.channels, 8 * factor, 12 * factor)
    close(net(images), e)
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
    close(net(net.inverse(embedding)), embedding)


@pytest.mark.parametrize("name", ["compact", "compact-half", "compact-detail", "one-channel"])
@pytest.mark.parametrize("changes", [{}, {"blocks": 5}, {"width": 13}, {"blocks": 3, "width": 9}])
def test_a_grown_network_computes_the_same(name: str, changes: dict[str, int]) -> None:
    net = randomised(IICNet(SMALL[name]))
    assert isinstance(net, IICNet)
    larger = expand_network(net.float(), SMALL[name].model_copy(update=changes)).double().eval()
    net = net.double()
    x = random(1, larger.config.images, larger.config.channels, 8, 12)
    close(larger(x), net(x))
    e = random(*net.reference(x).shape)
    close(larger.inverse(e), net.inverse(e))
    size = sum(p.numel() for p in larger.parameters())
    assert (size > sum(p.numel() for p in net.parameters())) == bool(changes)


def test_detail_grows() -> None:
    before = SMALL["compact-detail"]
    assert before.detail is not None
    net = randomised(IICNet(before))
    assert isinstance(net, IICNet)
    detail = DetailConfig(blocks=before.detail.blocks + 2, width=before.detail.width + 3)
    larger = (
        expand_network(net.float(), before.model_copy(update={"detail": detail})).double().eval()
    )
    net = net.double()
    x = random(2, before.images, before.channels, 8, 12)
    close(larger(x), net(x))
    e = random(*net.reference(x).shape)
    close(larger.inverse(e), net.inverse(e))
    smaller = DetailConfig(blocks=before.detail.blocks, width=before.detail.width - 1)
    with pytest.raises(ValueError, match="grows in blocks, width"):
        expand_network(net, before.model_copy(update={"detail": smaller}))


@pytest.mark.parametrize("blocks", [2, 4])
def test_a_network_of_half_size_grows_from_one_of_full_size(blocks: int) -> None:
    net = randomised(IICNet(SMALL["compact"]))
    assert isinstance(net, IICNet)
    changes = {"blocks": blocks, "half_size": True, "detail": DetailConfig(blocks=1, width=8)}
    larger = expand_network(net.float(), SMALL["compact"].model_copy(update=changes)).double()
    net = net.double()
    x = random(2, 3, 3, 8, 12)
    close(larger(x), net(torch.nn.functional.avg_pool3d(x, (1, 2, 2))))
    e = random(2, 3, 4, 6)
    close(torch.nn.functional.avg_pool3d(larger.inverse(e), (1, 2, 2)), net.inverse(e))


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": 1},
        {"width": 4},
        {"depth": 2},
        {"fused": False},
        {"half_size": True},
    ],
)
def test_networks_do_not_grow_otherwise(changes: dict[str, object]) -> None:
    net = IICNet(SMALL["compact"])
    with pytest.raises(ValueError, match="grows in blocks, width"):
        expand_network(net, SMALL["compact"].model_copy(update=changes))


def test_reference() -> None:
    x = random(1, 2, 3, 4, 4)
    close(IICNet(SMALL["paper-shuffle"]).reference(x)[0, :, 0, 0], x[0, 0, :, :2, :2].mean((1, 2)))
    luma = IICNet(SMALL["grayscale"]).reference(x[:, :1])
    close(luma[:, 0], 0.299 * x[:, 0, 0] + 0.587 * x[:, 0, 1] + 0.114 * x[:, 0, 2])


@pytest.mark.parametrize("shape", [(1, 4, 3, 8, 8), (1, 3, 1, 8, 8), (3, 3, 8, 8)])
def test_wrong_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected images"):
        IICNet(SMALL["compact"])(torch.rand(shape))


@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    net = IICNet(SMALL["compact"])
    with pytest.raises(ValueError, match="multiples of 2"):
        net(torch.rand(1, 3, 3, *size))
    with pytest.raises(ValueError, match="even"):
        net.inverse(torch.rand(1, 3, *size))
    with pytest.raises(ValueError, match="even"):
        InvertibleDownscaling(1, 3)(torch.rand(1, 3, *size))
    pixels = IICNet(SMALL["paper"])
    assert pixels(torch.rand(1, 3, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("name", ["paper", "compact"])
@torch.inference_mode()
def test_couplings_work_on_tensors_that_are_channels_last(name: str) -> None:
    net = channels_last(IICNet(SMALL[name]).eval())
    pictures = np.stack([natural(24, 32, i) for i in range(net.config.images)])
    images = to_tensor(pictures[None])
    assert np.array_equal(to_pixels(images)[0], pictures)
    passed: list[Tensor] = []
    for block in net.coupling.layers[:-1]:
        assert isinstance(block, Invertible)
        for call in (block.forward, block.inverse):

            def watched(x: Tensor, call: Callable[[Tensor], Tensor] = call) -> Tensor:
                passed.append(x)
                return call(x)

            setattr(block, call.__name__, watched)
    net.inverse(net(images))
    assert len(passed) == 2 * (len(net.coupling.layers) - 1)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in passed)


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
def test_halo(name: str) -> None:
    """One pixel changes nothing beyond the halo and, where the bound is tight, something at it."""
    config, tight = HALOS[name]
    net = randomised(IICNet(config), scale=1.0)
    assert isinstance(net, IICNet)
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
        reached = max(reached, reach(difference, y, x))

        factor = 2 if config.half_size else 1
        embedding = random(1, 3, size // factor, size // factor)
        changed = embedding.clone()
        changed[..., y // factor, x // factor] += 0.5
        difference = (net.inverse(changed) - net.inverse(embedding)).abs().amax(dim=(0, 1, 2))
        reached = max(reached, reach(difference, y, x))
    assert reached <= config.halo
    if tight:
        assert reached == config.halo


def reach(difference: Tensor, y: int, x: int) -> int:
    """Largest distance to (y, x), along an axis, of a difference."""
    rows, columns = torch.nonzero(difference, as_tuple=True)
    return int(torch.maximum((rows - y).abs(), (columns - x).abs()).max())


# Configuration.


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"images": 0}, "images"),
        ({"images": 17}, "images"),
        ({"images": 2, "chanels": 3}, "chanels"),
        ({"images": 2, "channels": 4}, "channels"),
        ({"images": 2, "subnet": "cube"}, "subnet"),
        ({"images": 2, "half_size": True, "downscaling": "none"}, "half_size"),
        ({"images": 2, "downscaling_conv": True, "downscaling": "none"}, "downscaling_conv"),
        ({"images": 2, "detail": {}}, "detail needs half_size"),
        ({"images": 2, "channels": 1, "embedding_channels": 3}, "averaged"),
        ({"images": 1, "downscaling": "none"}, "split"),
    ],
)
def test_config_errors(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        IICNetConfig.model_validate(fields)


def test_config_numbers() -> None:
    config = IICNetConfig.paper(5, half_size=True)
    assert (config.multiple, config.image_channels, config.working_channels) == (2, 15, 60)
    assert (config.split, config.squeezed_channels) == (12, 3)
    assert IICNetConfig.paper(3, half_size=True, channel_order="band").split == 9
    compact = IICNetConfig.compact(5)
    assert (compact.multiple, compact.working_channels) == (2, 60)
    assert (compact.split, compact.squeezed_channels) == (12, 12)
    assert IICNetConfig.model_validate_json(config.model_dump_json()) == config
