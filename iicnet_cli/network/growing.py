"""A larger network that computes what a trained smaller one does, to go on training from."""

from __future__ import annotations

import torch
from torch import Tensor

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet

GROWING: tuple[str, ...] = ("blocks", "width")


@torch.no_grad()
def grown(net: IICNet, config: IICNetConfig) -> IICNet:
    """Deepen or widen a network; the result gives the same embeddings and restored images.

    New blocks come first and start as the identity. New features inside a residual subnet start at
    random, but nothing that was there listens to them yet (Chen et al., Net2Net, ICLR 2016). With
    new ``detail``, it gives the same for images that were halved, each pixel the mean of four.

    Args:
        net: residual subnets.
        config: that of ``net``, with as many or more ``blocks``, and as great or greater a
            ``width``; if ``net`` is not of half size, it may be, with ``detail``.

    Raises:
        ValueError: it differs from that of ``net`` in another way, or is smaller.
    """
    before = net.config
    names = GROWING
    if config.detail and not before.half_size:
        names = (*GROWING, "half_size", "detail")
    same = before.model_copy(update={name: getattr(config, name) for name in names})
    larger = all(getattr(config, name) >= getattr(before, name) for name in GROWING)
    if same != config or not larger or before.subnet != "residual":
        raise ValueError("a network grows in blocks, width of residual subnets and detail only")
    result = IICNet(config)
    state = result.state_dict()
    shift = (config.blocks - before.blocks) * (2 if config.mixing else 1)
    for key, old in net.state_dict().items():
        parts = key.split(".")
        if parts[:2] == ["coupling", "layers"]:
            parts[2] = str(int(parts[2]) + shift)
        _place(state[".".join(parts)], old)
    for layer in range(shift if config.mixing else 0):
        mixing = state.get(f"coupling.layers.{layer}.weight")
        if mixing is not None:
            mixing.copy_(torch.eye(len(mixing)))
    result.load_state_dict(state)
    return result


def _place(new: Tensor, old: Tensor) -> None:
    """Put a weight or bias into the corner of a larger one; old outputs ignore new inputs."""
    if new.dim() > 1:
        new[: old.shape[0]] = 0
        new[: old.shape[0], : old.shape[1]] = old
    else:
        new[: old.shape[0]] = old
