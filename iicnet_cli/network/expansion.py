"""A larger network that computes what a trained smaller one does, to go on training from."""

from __future__ import annotations

import torch
from torch import Tensor

from iicnet_cli.network.config import DetailConfig, IICNetConfig
from iicnet_cli.network.iicnet import IICNet

GROWING: tuple[str, ...] = ("blocks", "width")
"""What may be greater, in the network and in its detail layers."""


@torch.no_grad()
def expand_network(net: IICNet, config: IICNetConfig) -> IICNet:
    """Deepen or widen a network; the result gives the same embeddings and restored images.

    New blocks come first and start as the identity. New features inside a residual subnet start at
    random, but nothing that was there listens to them yet (Chen et al., Net2Net, ICLR 2016). With
    new ``detail``, it gives the same for images that were halved, each pixel the mean of four.

    Args:
        net: residual subnets.
        config: that of ``net``, with as many or more ``blocks``, and as great or greater a
            ``width``, in itself and in its ``detail``; if ``net`` is not of half size, it may be,
            with ``detail``.

    Raises:
        ValueError: it differs from that of ``net`` in another way, or is smaller.
    """
    before = net.config
    larger = _larger(before, config)
    names = GROWING
    new_blocks = {"coupling": config.blocks - before.blocks}
    if config.detail and not before.half_size:
        names = (*GROWING, "half_size", "detail")
    elif config.detail and before.detail:
        names = (*GROWING, "detail")
        larger = larger and _larger(before.detail, config.detail)
        new_blocks["detail.coupling"] = config.detail.blocks - before.detail.blocks
    same = before.model_copy(update={name: getattr(config, name) for name in names})
    if same != config or not larger or before.subnet != "residual":
        raise ValueError("a network grows in blocks, width of residual subnets and detail only")
    result = IICNet(config)
    state = result.state_dict()
    old = net.state_dict()
    for part, blocks in new_blocks.items():
        old = _behind_new_blocks(part, blocks, state, old)
    for key, value in old.items():
        _place(state[key], value)
    result.load_state_dict(state)
    return result


def _larger(before: IICNetConfig | DetailConfig, config: IICNetConfig | DetailConfig) -> bool:
    return all(getattr(config, name) >= getattr(before, name) for name in GROWING)


def _behind_new_blocks(
    part: str, blocks: int, state: dict[str, Tensor], old: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The old weights by the names that they get behind the new blocks of some coupling layers."""
    prefix = f"{part}.layers."
    mixing = state.get(f"{prefix}0.weight")
    shift = blocks * (1 if mixing is None else 2)
    if mixing is not None:
        for layer in range(0, shift, 2):
            state[f"{prefix}{layer}.weight"].copy_(torch.eye(len(mixing)))

    def moved(key: str) -> str:
        if not key.startswith(prefix):
            return key
        layer, rest = key.removeprefix(prefix).split(".", 1)
        return f"{prefix}{int(layer) + shift}.{rest}"

    return {moved(key): value for key, value in old.items()}


def _place(new: Tensor, old: Tensor) -> None:
    """Put a weight or bias into the corner of a larger one; old outputs ignore new inputs."""
    if new.dim() > 1:
        new[: old.shape[0]] = 0
        new[: old.shape[0], : old.shape[1]] = old
    else:
        new[: old.shape[0]] = old
