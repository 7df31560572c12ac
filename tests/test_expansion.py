"""Larger networks that compute what smaller ones do."""

from __future__ import annotations

import pytest
from torch.nn.functional import avg_pool3d

from iicnet_cli.network.config import DetailConfig
from iicnet_cli.network.expansion import expand_network
from iicnet_cli.network.iicnet import IICNet
from tests.networks import SMALL_CONFIGS, assert_close, random, randomise


@pytest.mark.parametrize("name", ["compact", "compact-half", "compact-detail", "one-channel"])
@pytest.mark.parametrize("changes", [{}, {"blocks": 5}, {"width": 13}, {"blocks": 3, "width": 9}])
def test_an_expanded_network_computes_the_same(name: str, changes: dict[str, int]) -> None:
    net = randomise(IICNet(SMALL_CONFIGS[name]))
    larger = (
        expand_network(net.float(), SMALL_CONFIGS[name].model_copy(update=changes)).double().eval()
    )
    net = net.double()
    x = random(1, larger.config.images, larger.config.channels, 8, 12)
    assert_close(larger(x), net(x))
    e = random(*net.reference(x).shape)
    assert_close(larger.inverse(e), net.inverse(e))
    size = sum(p.numel() for p in larger.parameters())
    assert (size > sum(p.numel() for p in net.parameters())) == bool(changes)


def test_detail_layers_are_expanded() -> None:
    before = SMALL_CONFIGS["compact-detail"]
    assert before.detail is not None
    net = randomise(IICNet(before))
    detail = DetailConfig(blocks=before.detail.blocks + 2, width=before.detail.width + 3)
    larger = (
        expand_network(net.float(), before.model_copy(update={"detail": detail})).double().eval()
    )
    net = net.double()
    x = random(2, before.images, before.channels, 8, 12)
    assert_close(larger(x), net(x))
    e = random(*net.reference(x).shape)
    assert_close(larger.inverse(e), net.inverse(e))
    smaller = DetailConfig(blocks=before.detail.blocks, width=before.detail.width - 1)
    with pytest.raises(ValueError, match="grows in blocks, width"):
        expand_network(net, before.model_copy(update={"detail": smaller}))


@pytest.mark.parametrize("blocks", [2, 4])
def test_half_size_is_added_to_a_network_of_full_size(blocks: int) -> None:
    net = randomise(IICNet(SMALL_CONFIGS["compact"]))
    changes = {"blocks": blocks, "half_size": True, "detail": DetailConfig(blocks=1, width=8)}
    larger = expand_network(
        net.float(), SMALL_CONFIGS["compact"].model_copy(update=changes)
    ).double()
    net = net.double()
    x = random(2, 3, 3, 8, 12)
    assert_close(larger(x), net(avg_pool3d(x, (1, 2, 2))))
    e = random(2, 3, 4, 6)
    assert_close(avg_pool3d(larger.inverse(e), (1, 2, 2)), net.inverse(e))


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
def test_other_changes_are_refused(changes: dict[str, object]) -> None:
    net = IICNet(SMALL_CONFIGS["compact"])
    with pytest.raises(ValueError, match="grows in blocks, width"):
        expand_network(net, SMALL_CONFIGS["compact"].model_copy(update=changes))
