"""Per-picture optimisation of an embedding through the frozen restorer (``--effort``).

The network's embedding is the start. Its levels are then searched for ones from which the same
network restores better: by gradients through the inverse pass, equation (9), with a stochastic
rounding between neighbouring levels that is annealed to the rounding of the PNG. The file needs
nothing special to be restored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from iicnet_cli.network.iicnet import IICNet

STEPS = (0, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800)
"""Steps of each effort from 0 to 10."""

LEARNING_RATE = 0.12
"""Of Adam at its start, in levels; it falls to nearly nothing."""
_HOTTEST, _COLDEST = 0.3, 0.05
_MARGIN = 0.99
"""Of the error that may be: aimed at, for whole levels do a little worse than soft ones."""
_MISSED = -1e6

_Restore = Callable[[Tensor], Tensor]
"""Levels (1, C_e, H_e, W_e) to images (1, K, C, H, W) in 0..1."""


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


def improve(
    net: IICNet,
    images: Tensor,
    embedding: Tensor,
    steps: int,
    *,
    target: Target = Target(),
    free: Tensor | None = None,
    known: Tensor | None = None,
    added: Tensor | None = None,
    seed: int = 0,
    tick: Callable[[float, float], None] = lambda share, gain: None,
) -> Tensor:
    """Find levels near an embedding's from which the pictures are restored better.

    Args:
        net: in evaluation mode.
        images: (1, K, C, H, W) in 0..1, the reference first.
        embedding: (1, C_e, H_e, W_e) in 0..255, whole levels.
        steps: of the optimiser; 0 returns ``embedding``, as floats.
        target: what to hold.
        free: (1, C_e, H_e, W_e), where the levels may change; everywhere by default.
        known: (H, W), where the pictures need not be restored.
        added: (1, K, C, H, W), what is added to the restored pictures.
        seed: of the stochastic rounding.
        tick: called after each step with the share 0..1 that is done, and the dB gained so far.

    Returns:
        (1, C_e, H_e, W_e), to be rounded to whole levels; ``embedding`` itself where nothing better
        was found.
    """
    reference = (255 * net.reference(images)).round()
    if added is not None:
        images = images - added

    def restore(levels: Tensor) -> Tensor:
        restored = net.inverse(levels / 255)
        return restored if known is None else torch.where(known, images, restored)

    start = embedding.float()
    held = _held(start, restore, images, reference, target)
    best, best_score = start, _score(start, restore, images, reference, held, target)
    first_score = best_score
    levels = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([levels], LEARNING_RATE, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(seed)
    pressure = 1.0
    checks = {math.ceil(steps * i / 20) for i in range(10, 21)}
    # The network's weights want no gradients: only the levels are searched.
    parameters = [p for p in net.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        for step in range(steps):
            done = step / steps
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.98 * done)
            temperature = _HOTTEST * (_COLDEST / _HOTTEST) ** done
            rounded = _between_levels(levels, temperature, generator)
            if free is not None:
                rounded = torch.where(free, rounded, start)
            restored = restore(rounded)
            shown = (rounded - reference).square().mean() / 255**2
            hidden = (restored - images).square().mean()
            if target.restored_psnr is None:
                wanted, kept = hidden, shown
            else:
                wanted, kept = shown, hidden
            # A multiplier that grows while what is held is worse than it may be.
            pressure *= 1.15 if kept.item() > _MARGIN * held else 0.87
            loss = (wanted + pressure * kept) / (wanted.item() + pressure * kept.item())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                levels.clamp_(0, 255)
            # Early on, what is between two levels does not survive the rounding.
            if step + 1 in checks:
                found = levels.detach().clone()
                if free is not None:
                    found = torch.where(free, found, start)
                score = _score(found.round(), restore, images, reference, held, target)
                if score > best_score:
                    best, best_score = found, score
            # There is no gain to tell while what is held is not yet reached.
            tick((step + 1) / steps, best_score - first_score if first_score > _MISSED else 0.0)
    finally:
        for p in parameters:
            p.requires_grad_(True)
    return best


def _between_levels(levels: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """The level below or above, at random with the nearer one more likely; softly, to learn from.

    The binary concrete distribution (Maddison et al., ICLR 2017), harder as it gets colder.
    """
    below = levels.detach().floor()
    uniform = torch.rand(levels.shape, generator=generator).to(levels.device).clamp(1e-6, 1 - 1e-6)
    noise = torch.log(uniform) - torch.log1p(-uniform)
    above = torch.sigmoid((8 * (levels - below - 0.5) + noise) / (8 * temperature))
    return below + above


@torch.no_grad()
def _errors(
    levels: Tensor, restore: _Restore, images: Tensor, reference: Tensor
) -> tuple[float, float]:
    """Mean squared errors of embedding and restored pictures, in 0..1 units, as the PNG gives."""
    shown = (levels - reference).square().mean().item() / 255**2
    restored = (255 * restore(levels)).round() / 255
    return shown, (restored - images).square().mean().item()


def _held(
    start: Tensor, restore: _Restore, images: Tensor, reference: Tensor, target: Target
) -> float:
    """Largest mean squared error of what is held."""
    if target.restored_psnr is not None:
        return float(10 ** (-target.restored_psnr / 10))
    if target.embed_psnr is not None:
        return float(10 ** (-target.embed_psnr / 10))
    return _errors(start, restore, images, reference)[0]


def _score(
    levels: Tensor,
    restore: _Restore,
    images: Tensor,
    reference: Tensor,
    held: float,
    target: Target,
) -> float:
    """dB of what is improved; far below any where the target is missed, the farther the worse."""
    shown, hidden = _errors(levels, restore, images, reference)
    wanted, kept = (hidden, shown) if target.restored_psnr is None else (shown, hidden)
    if kept > held * 1.005:
        return _MISSED * kept / held
    return -10 * math.log10(max(wanted, 1e-10))
