"""Expansion of a trained network to a larger one that computes the same."""

from __future__ import annotations

import torch
from torch import Tensor

from iicnet_cli.network.config import DetailConfig, IICNetConfig
from iicnet_cli.network.iicnet import IICNet

_GROWING: tuple[str, ...] = ("blocks", "width")
"""These fields of a configuration and of its ``detail`` may grow."""


@torch.no_grad()
def expand_network(net: IICNet, config: IICNetConfig) -> IICNet:
    """Deepen or widen a network without changing its embeddings and restored images.

    New blocks are put before the old ones and start as the identity. New feature channels of a
    residual subnet start at random, but no old layer reads them yet (Net2Net, Chen et al., ICLR
    2016). A network that gets new detail layers computes the same as before on images that were
    halved by averaging 2x2 pixels.

    Args:
        net: a network with residual subnets.
        config: the configuration of ``net`` with ``blocks`` or ``width`` as large or larger, also
            in its ``detail``. If the embedding of ``net`` has the full size, the new configuration
            may add ``half_size`` and ``detail``.

    Returns:
        The larger network.

    Raises:
        ValueError: the configuration differs in another way, or is smaller.
    """
    before = net.config
    larger = _is_larger(before, config)
    changeable = _GROWING
    new_blocks = {"coupling": config.blocks - before.blocks}
    if config.detail and not before.half_size:
        changeable = (*_GROWING, "half_size", "detail")
    elif config.detail and before.detail:
        changeable = (*_GROWING, "detail")
        larger = larger and _is_larger(before.detail, config.detail)
        new_blocks["detail.coupling"] = config.detail.blocks - before.detail.blocks
    expected = before.model_copy(update={name: getattr(config, name) for name in changeable})
    if expected != config or not larger or before.subnet != "residual":
        raise ValueError("a network grows in blocks, width of residual subnets and detail only")
    result = IICNet(config)
    state = result.state_dict()
    old = net.state_dict()
    for part, blocks in new_blocks.items():
        old = _insert_blocks(part, blocks, state, old)
    for key, value in old.items():
        _copy_into_corner(value, state[key])
    result.load_state_dict(state)
    return result


def _is_larger(before: IICNetConfig | DetailConfig, config: IICNetConfig | DetailConfig) -> bool:
    return all(getattr(config, name) >= getattr(before, name) for name in _GROWING)


def _insert_blocks(
    part: str, blocks: int, state: dict[str, Tensor], old: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Insert identity blocks before the old blocks of some coupling layers.

    Args:
        part: name of the coupling layers in the network.
        blocks: number of new blocks.
        state: weights of the larger network; the mixings of its new blocks become the identity.
        old: weights of the smaller network.

    Returns:
        The old weights by the names that they have behind the new blocks.
    """
    prefix = f"{part}.layers."
    mixing = state.get(f"{prefix}0.weight")
    shift = blocks * (1 if mixing is None else 2)
    if mixing is not None:
        for layer in range(0, shift, 2):
            state[f"{prefix}{layer}.weight"].copy_(torch.eye(len(mixing)))

    def rename(key: str) -> str:
        if not key.startswith(prefix):
            return key
        layer, rest = key.removeprefix(prefix).split(".", 1)
        return f"{prefix}{int(layer) + shift}.{rest}"

    return {rename(key): value for key, value in old.items()}


def _copy_into_corner(old: Tensor, new: Tensor) -> None:
    """Copy a weight or bias into a larger one, such that old outputs ignore new inputs."""
    if new.dim() > 1:
        new[: old.shape[0]] = 0
        new[: old.shape[0], : old.shape[1]] = old
    else:
        new[: old.shape[0]] = old
