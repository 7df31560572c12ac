"""Coupling layers by Winograd convolutions, compared with the layers themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.inference.fast_coupling import FastCoupling
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.pixels import to_pixels, to_tensor


def network(images: int, **changes: object) -> IICNet:
    """A network whose layers all do something."""
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(images, **changes)).eval()
    with torch.no_grad():
        for parameter in net.coupling.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    return net


@pytest.mark.parametrize(
    ("images", "height", "width", "changes"),
    [
        pytest.param(2, 24, 40, {"blocks": 2}, id="whole tiles"),
        pytest.param(3, 9, 177, {"blocks": 2, "width": 20}, id="odd sides, width of no vector"),
        pytest.param(2, 8, 7, {"blocks": 1, "depth": 2}, id="small, two inner layers"),
        pytest.param(2, 3, 5, {"blocks": 2, "depth": 0}, id="less than a tile, no inner layer"),
    ],
)
def test_both_passes_are_those_of_the_layers(
    images: int, height: int, width: int, changes: dict[str, object]
) -> None:
    layers = network(images, **changes).coupling
    fast = FastCoupling(layers)
    x = torch.rand(2, 12 * images, height, width)
    with torch.inference_mode():
        for direction in ("forward", "inverse"):
            expected, found = (getattr(each, direction)(x) for each in (layers, fast))
            assert not torch.equal(expected, x)
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
            x = found


@pytest.mark.parametrize("pictures", [1, 2, 5])
def test_several_threads_give_the_same(pictures: int) -> None:
    fast = FastCoupling(network(2, blocks=1).coupling)
    x = torch.rand(pictures, 24, 40, 24)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with torch.inference_mode():
                results.append(fast.forward(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_changed_weights_are_used() -> None:
    layers = network(2, blocks=1).coupling
    fast = FastCoupling(layers)
    x = torch.rand(1, 24, 8, 8)
    with torch.inference_mode():
        before = fast.forward(x)
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter *= 1.1
    with torch.inference_mode():
        after = fast.forward(x)
        assert torch.allclose(after, layers.forward(x), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after, before, rtol=1e-3, atol=1e-3)


def test_restored_pictures_are_those_of_pytorch_to_one_level_and_do_not_vary() -> None:
    """Also in memory that is full of other numbers."""
    net = network(2, blocks=3)
    runner, plain = Runner(net), network(2, blocks=3)
    generator = np.random.default_rng(0)
    embedding = generator.integers(0, 256, (264, 264, 3), np.uint8)
    with torch.inference_mode():
        expected = to_pixels(plain.inverse(to_tensor(embedding[None], torch.device("cpu")))[0])
    first = runner.restore(embedding)
    waste = [np.full(1 << 20, np.nan, np.float32) for _ in range(8)]
    del waste
    again = runner.restore(embedding)
    assert net.coupling.accelerator is not None
    assert np.abs(first.astype(int) - expected).max() <= 1
    assert np.array_equal(first, again)
    assert first.std() > 0
