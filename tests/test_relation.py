"""The relation module, equation (1)."""

from __future__ import annotations

import torch

from iicnet_cli.network.relation import RelationBlock, RelationModule
from tests.networks import assert_close, random, randomise


def test_relation_equation() -> None:
    block = randomise(RelationBlock(2, 3, features=4, growth=4, scale=0.2))
    x = random(1, 6, 6, 6)
    features = torch.cat((block.heads[0](x[:, :3]), block.heads[1](x[:, 3:])), dim=1)
    assert_close(block(x)[:, 3:], x[:, 3:] + 0.2 * block.tails[1](features))


def test_relation_module_has_two_symmetric_blocks() -> None:
    module = RelationModule(2, 3, features=4, growth=4)
    x = torch.rand(1, 6, 6, 6)
    assert torch.equal(module(x), module.forward_block(x))
    assert torch.equal(module.inverse(x), module.inverse_block(x))
    # Both blocks start as the identity, because the last layers of their tails start at zero.
    torch.testing.assert_close(module.inverse(module(x)), x)
