"""Per-picture optimisation of an embedding through the frozen restorer (``--effort`` 2 to 10).

The network's embedding, before it is rounded, is the start. By gradients through the inverse pass,
equation (9), one is searched from which the same network restores better, together with the
enhancement layer, which is coded anew every few steps. The file needs nothing special to be
restored. Rounding is left out: noise in its place makes the search more than twice as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.pictures.metrics import psnr_to_mse

STEPS = (0, 0, 12, 20, 32, 48, 64, 80, 96, 128, 160)
"""Steps of each effort from 0 to 10; the first two do without."""

_LEARNING_RATE = 0.12
"""Of Adam, times the distance to the reference (root mean square). Half of the steps warm it up, as
Adam moves all levels alike at first; then it falls to nearly nothing."""
_FOLLOW = 0.5
"""Of what the restored pictures lack of a target, that the embedding is let farther off, in one
step; both as logarithms of squared errors."""
_HASTE = 0.05
"""Logarithm by which the squared distance may change in one step, at most."""
_FARTHEST = 4.0
"""Times the squared distance at the start, that it may become for what is restored."""
_NEAR = 0.99
"""Share of the squared distance that may be, from which on steps go along the sphere."""
_RECODED = 8
"""Steps after which the layer is coded anew."""
_LEAST = 1e-6
"""Squared levels that count as an error, so that none is 0."""


@dataclass(frozen=True)
class Target:
    """What is held while the other is improved; PSNRs in dB.

    Attributes:
        embed_psnr: keep the embedding at least as good, and improve the restored pictures; by
            default at what the network gives.
        restored_psnr: keep the restored pictures at least as good, and improve the embedding.
            Not together with ``embed_psnr``.
    """

    embed_psnr: float | None = None
    restored_psnr: float | None = None

    @property
    def free(self) -> bool:
        """Whether no PSNR was told."""
        return self.embed_psnr is None and self.restored_psnr is None

    def lacking(self, embed_psnr: float, restored_psnr: float) -> float:
        """dB that what is held is below it."""
        pairs = (self.embed_psnr, embed_psnr), (self.restored_psnr, restored_psnr)
        return next((wanted - got for wanted, got in pairs if wanted is not None), 0.0)

    def raised(self, psnr: float) -> Target:
        """By so many dB."""
        embed, restored = (
            None if held is None else held + psnr for held in (self.embed_psnr, self.restored_psnr)
        )
        return Target(embed, restored)


def improve(
    net: IICNet,
    images: Tensor,
    embedding: Tensor,
    steps: int,
    *,
    target: Target = Target(),
    layer: Callable[[Tensor], Tensor] = torch.zeros_like,
    free: Tensor | None = None,
    known: Tensor | None = None,
    tick: Callable[[float, float], None] = lambda share, gain: None,
) -> Tensor:
    """Find an embedding near a given one from which the pictures are restored better.

    Args:
        net: in evaluation mode.
        images: (1, K, C, H, W) in 0..1, the reference first.
        embedding: (1, C_e, H_e, W_e), levels of 0..255, not rounded.
        steps: of the optimiser; 0 returns ``embedding``.
        target: what to hold, before rounding.
        layer: what an enhancement layer adds to restored pictures, of their shape; nothing by
            default.
        free: (1, C_e, H_e, W_e), where the levels may change; everywhere by default.
        known: (H, W), where the pictures need not be restored.
        tick: called after each step with the share 0..1 that is done, and the dB gained so far.

    Returns:
        (1, C_e, H_e, W_e), to be rounded; ``embedding`` itself where nothing better was found.
    """
    if not steps:
        return embedding
    reference = (255 * net.reference(images)).round()
    start = embedding - reference
    moves = torch.ones_like(start) if free is None else free.to(start)

    def restored(offset: Tensor) -> Tensor:
        pictures = net.inverse((reference + offset) / 255)
        return pictures if known is None else torch.where(known, images, pictures)

    def error(pictures: Tensor, told: Tensor) -> Tensor:
        """In squared levels."""
        return 255**2 * (pictures + told - images).square().mean().clamp(min=_LEAST)

    def within(offset: Tensor, square: float) -> Tensor:
        """No farther from the reference than so much, by one factor for all that may change."""
        factor = math.sqrt(max(square - fixed, 0) / max(_square(moves * offset), _LEAST))
        return torch.lerp(start, min(1.0, factor) * offset, moves).clamp(
            -reference, 255 - reference
        )

    fixed = _square((1 - moves) * start)
    distance = began = max(_square(start), _LEAST)
    goal = distance if target.embed_psnr is None else psnr_to_mse(target.embed_psnr)
    offset = start.clone().requires_grad_()
    rate = _LEARNING_RATE * math.sqrt(min(distance, goal))
    optimizer = torch.optim.Adam([offset], rate, betas=(0.9, 0.95))
    with _frozen(net):
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * _schedule(step, steps)
            pictures = restored(offset)
            if step % _RECODED == 0:
                told = layer(pictures.detach())
            back = error(pictures, told)
            if step == 0:
                first = back.item()
            optimizer.zero_grad()
            # Not too small for the optimiser, however large the pictures.
            (offset.numel() * back).backward()  # type: ignore[no-untyped-call]
            assert offset.grad is not None
            if target.restored_psnr is not None:
                lacking = math.log(back.item() / psnr_to_mse(target.restored_psnr))
                goal = min(distance * math.exp(_FOLLOW * lacking), _FARTHEST * began)
            change = math.log(goal / distance)
            distance *= math.exp(min(max(change, -_HASTE), _HASTE))
            with torch.no_grad():
                offset.grad *= moves
                if _square(offset) > _NEAR * distance:
                    offset.grad = _along(offset.grad, moves * offset)
                optimizer.step()
                offset.copy_(within(offset, distance))
            if target.restored_psnr is None:
                gained = first / back.item()
            else:
                gained = began / max(_square(offset), _LEAST)
            tick((step + 1) / steps, 10 * math.log10(gained))
    with torch.no_grad():
        found = offset.detach()
        if target.embed_psnr is not None:
            found = within(found, goal)
        if target.free:
            pictures = restored(found)
            if error(pictures, layer(pictures)).item() >= first:
                return embedding
    return reference + found


def _schedule(step: int, steps: int) -> float:
    return min(1.0, 2 * (step + 1) / steps) * (1 - 0.95 * step / steps)


def _along(gradient: Tensor, offset: Tensor) -> Tensor:
    """A gradient without what of it would lead outwards, on the sphere around the reference."""
    inwards = (gradient * offset).sum()
    if inwards >= 0:
        return gradient
    return gradient - inwards / offset.square().sum() * offset


def _square(offset: Tensor) -> float:
    return offset.square().mean().item()


@contextmanager
def _frozen(net: IICNet) -> Iterator[None]:
    """Its weights want no gradients: only the levels are searched."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
