"""Per-picture optimisation of an embedding through the frozen restorer (``--effort``).

The network's embedding, before it is rounded, is the start. By gradients through the inverse pass,
equation (9), one is searched from which the same network restores better, with noise in place of
the rounding to come, as in training (section 3.1). The file needs nothing special to be restored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.quantization import Quantization
from iicnet_cli.rounding import Feedback

STEPS = (0, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800)
"""Steps of each effort from 0 to 10."""

_LEARNING_RATE = 0.2
"""Of Adam at its start, in levels; it falls to nearly nothing."""
_PRESSURE = 1.0
"""Weight of what is held, at first; it grows while that is worse than it may be, and falls else."""
_GROWTH, _FALL = 1.4, 0.7
_MARGIN = 0.995
"""Of the error that may be: aimed at, for the noise is another one each time."""
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
    feedback: Feedback | None = None,
    free: Tensor | None = None,
    known: Tensor | None = None,
    seed: int = 0,
    tick: Callable[[float, float], None] = lambda share, gain: None,
) -> Tensor:
    """Find an embedding near a given one from which the pictures are restored better.

    Args:
        net: in evaluation mode.
        images: (1, K, C, H, W) in 0..1, the reference first.
        embedding: (1, C_e, H_e, W_e), levels of 0..255, not rounded.
        steps: of the optimiser; 0 returns ``embedding``.
        target: what to hold; noise as of the rounding is part of what it means.
        feedback: how that will be diffused.
        free: (1, C_e, H_e, W_e), where the levels may change; everywhere by default.
        known: (H, W), where the pictures need not be restored.
        seed: of the noise.
        tick: called after each step with the share 0..1 that is done, and the dB gained so far.

    Returns:
        (1, C_e, H_e, W_e), to be rounded; ``embedding`` itself where nothing better was found.
    """
    reference = (255 * net.reference(images)).round()
    quantized = Quantization(feedback=feedback).train()

    def restore(levels: Tensor) -> Tensor:
        restored = net.inverse(levels / 255)
        return restored if known is None else torch.where(known, images, restored)

    def noisy(levels: Tensor) -> Tensor:
        rounded: Tensor = 255 * quantized(levels / 255)
        return rounded

    def score(levels: Tensor) -> float:
        # The same noise each time.
        with torch.no_grad(), _seeded(seed, levels.device):
            return _score(*_errors(noisy(levels), restore, images, reference), held, target)

    with torch.no_grad(), _seeded(seed, embedding.device):
        held = _held(noisy(embedding), reference, target)
    best, best_score = embedding, score(embedding)
    first_score = best_score
    levels = embedding.clone().requires_grad_()
    optimizer = torch.optim.Adam([levels], _LEARNING_RATE, betas=(0.9, 0.95))
    pressure = _PRESSURE
    checks = {math.ceil(steps * i / 20) for i in range(10, 21)}
    with _frozen(net), _seeded(seed + 1, embedding.device):
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - 0.95 * step / steps)
            rounded = noisy(levels if free is None else torch.where(free, levels, embedding))
            restored = restore(rounded)
            shown = (rounded - reference).square().mean() / 255**2
            hidden = (restored - images).square().mean()
            if target.restored_psnr is None:
                wanted, kept = hidden, shown
            else:
                wanted, kept = shown, hidden
            pressure *= _GROWTH if kept.item() > _MARGIN * held else _FALL
            loss = (wanted + pressure * kept) / (wanted.item() + pressure * kept.item())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                levels.clamp_(0, 255)
            if step + 1 in checks:
                found = levels.detach().clone()
                if free is not None:
                    found = torch.where(free, found, embedding)
                found_score = score(found)
                if found_score > best_score:
                    best, best_score = found, found_score
            # There is no gain to tell while what is held is not yet reached.
            tick((step + 1) / steps, best_score - first_score if first_score > _MISSED else 0.0)
    return best


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


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Noise that is the same again, and leaves that of others as it is."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _errors(
    levels: Tensor, restore: _Restore, images: Tensor, reference: Tensor
) -> tuple[float, float]:
    """Mean squared errors of embedding and restored pictures, in 0..1 units."""
    shown = (levels - reference).square().mean().item() / 255**2
    return shown, (restore(levels) - images).square().mean().item()


def _held(levels: Tensor, reference: Tensor, target: Target) -> float:
    """Largest mean squared error of what is held, if these levels are the start."""
    told = target.embed_psnr if target.restored_psnr is None else target.restored_psnr
    if told is None:
        return (levels - reference).square().mean().item() / 255**2
    return float(10 ** (-told / 10))


def _score(shown: float, hidden: float, held: float, target: Target) -> float:
    """dB of what is improved; far below any where the target is missed, the farther the worse."""
    wanted, kept = (hidden, shown) if target.restored_psnr is None else (shown, hidden)
    if kept > held * 1.005:
        return _MISSED * kept / held
    return -10 * math.log10(max(wanted, 1e-10))
