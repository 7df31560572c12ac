"""Latent refinement: optimise one embedding through the frozen network (``--effort`` 2 to 10).

The network's embedding, before it is rounded, is the start. Gradients through the inverse pass,
equation (9), lead to an embedding from which the same network restores better together with the
enhancement layer, which is coded anew every few steps. The file needs nothing special to be
restored. Rounding is left out: noise in its place makes the search more than twice as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iicnet_cli.engines.network.enhancement_layer import LayerPlan
from iicnet_cli.engines.network.layer_planner import plan_layer
from iicnet_cli.inference.runner import Runner
from iicnet_cli.inference.tiling import scale_area
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.pixels import (
    tensor_to_fixed_point,
    to_pixels,
    to_rounding_residual,
    to_tensor,
)
from iicnet_cli.options import EmbedOptions
from iicnet_cli.pictures.arrays import FRACTION, PixelArray
from iicnet_cli.pictures.metrics import psnr_to_mse
from iicnet_cli.quantize.lattice import UnroundedEmbedding

STEPS_OF_EFFORT = (0, 0, 12, 20, 32, 48, 64, 80, 96, 128, 160)
"""Optimiser steps of each effort from 0 to 10; the first two do not search."""

_LEARNING_RATE = 0.12
"""Learning rate of Adam, relative to the root mean square distance from the reference. It rises
over half of the steps, because Adam's first steps move all values alike, and then falls to nearly
nothing."""
_FOLLOW_RATE = 0.5
"""With a target for the restored pictures: this share of what they lack, as the logarithm of the
squared error, is added to the allowed distance in one step."""
_MAX_DISTANCE_CHANGE = 0.05
"""The logarithm of the allowed squared distance changes by at most this in one step."""
_MAX_DISTANCE_FACTOR = 4.0
"""With a target for the restored pictures, the squared distance may become this many times that at
the start."""
_SPHERE_SHARE = 0.99
"""From this share of the allowed squared distance on, gradients are projected onto the sphere."""
_STEPS_BETWEEN_LAYERS = 8
"""The enhancement layer is coded anew after this many steps."""
_MIN_MSE = 1e-6
"""Squared errors are taken to be at least this, so that none is 0."""

SearchProgress = Callable[[float, float], None]
"""Called after each step with the share 0..1 that is done and the dB gained so far."""


def ignore_search(share: float, gained_psnr: float) -> None:
    """Do nothing with the progress of a search."""


@dataclass(frozen=True)
class Target:
    """What the search holds while it improves the other; PSNRs in dB.

    Attributes:
        embed_psnr: keep the embedding at least this good and improve the restored pictures; by
            default, as good as the network's own embedding.
        restored_psnr: keep the restored pictures at least this good and improve the embedding.
            Not together with ``embed_psnr``.
    """

    embed_psnr: float | None = None
    restored_psnr: float | None = None

    @property
    def is_default(self) -> bool:
        """Whether no PSNR was asked for."""
        return self.embed_psnr is None and self.restored_psnr is None

    def shortfall(self, embed_psnr: float, restored_psnr: float) -> float:
        """dB by which the PSNR that is held lies below the target; 0 without a target."""
        pairs = (self.embed_psnr, embed_psnr), (self.restored_psnr, restored_psnr)
        return next((wanted - got for wanted, got in pairs if wanted is not None), 0.0)

    def raised(self, psnr: float) -> Target:
        """The same target, higher by ``psnr`` dB."""
        embed, restored = (
            None if held is None else held + psnr for held in (self.embed_psnr, self.restored_psnr)
        )
        return Target(embed, restored)


@dataclass(frozen=True)
class Search:
    """Number of optimiser steps, and the target."""

    steps: int
    target: Target = Target()

    @classmethod
    def of(cls, options: EmbedOptions) -> Search | None:
        """The search that the options ask for, if any."""
        if not options.searches:
            return None
        target = Target(options.target_embed_psnr, options.target_restored_psnr)
        return cls(STEPS_OF_EFFORT[options.effort], target)


def refine_tiles(
    runner: Runner,
    images: PixelArray,
    embedding: UnroundedEmbedding,
    search: Search,
    *,
    layer_bytes: int = 0,
    static: NDArray[np.bool_] | None = None,
    progress: SearchProgress = ignore_search,
) -> UnroundedEmbedding:
    """Refine an embedding of any size, tile by tile.

    Args:
        runner: the network.
        images: (K, H, W, C), the reference first.
        embedding: (H_e, W_e, C_e), where the search starts.
        search: steps and target.
        layer_bytes: size of the enhancement layer that is to come; 0 for none.
        static: (H, W), pixels that need not be restored and do not change in the embedding; only
            where the embedding is as large as the pictures.
        progress: the dB gained are those of the current tile.
    """
    scale = runner.scale
    refined = embedding.copy()
    height, width = images.shape[1:3]
    tiles = runner.tiles(height, width, searching=True)
    for i, tile in enumerate(tiles):
        area, inner = scale_area(tile.compute, scale), scale_area(tile.inner, scale)
        start = 255 * to_tensor(refined[area].values()[None], runner.device)
        optimise_mask = torch.zeros(start.shape, dtype=torch.bool, device=runner.device)
        optimise_mask[0, :, *inner] = True
        ignore_mask = None
        if static is not None:
            ignore_mask = torch.from_numpy(static[tile.compute]).to(runner.device)
            optimise_mask &= ~ignore_mask
        wanted = images[:, *tile.compute]
        share_of_tile = wanted.shape[1] * wanted.shape[2] / (height * width)
        found = refine_embedding(
            runner.net,
            to_tensor(wanted[None], runner.device),
            start,
            search,
            layer=_layer_correction(wanted, int(layer_bytes * share_of_tile)),
            optimise_mask=optimise_mask,
            ignore_mask=ignore_mask,
            progress=_progress_of_tile(progress, i, len(tiles)),
        )
        kept = scale_area(tile.keep, scale)
        changed = optimise_mask[0, :, *inner].permute(1, 2, 0).cpu().numpy()
        pixels = to_pixels(found / 255)[0][inner]
        residual = to_rounding_residual(found / 255)[0][inner]
        refined.pixels[kept] = np.where(changed, pixels, refined.pixels[kept])
        refined.residual[kept] = np.where(changed, residual, refined.residual[kept])
    return refined


def refine_embedding(
    net: IICNet,
    images: Tensor,
    embedding: Tensor,
    search: Search,
    *,
    layer: Callable[[Tensor], Tensor] = torch.zeros_like,
    optimise_mask: Tensor | None = None,
    ignore_mask: Tensor | None = None,
    progress: SearchProgress = ignore_search,
) -> Tensor:
    """Find an embedding near a given one from which the pictures are restored better.

    Args:
        net: in evaluation mode.
        images: (1, K, C, H, W) in 0..1, the reference first.
        embedding: (1, C_e, H_e, W_e) in 0..255, not rounded.
        search: steps, and the target before rounding. No steps return ``embedding``.
        layer: what an enhancement layer adds to restored pictures, of their shape; nothing by
            default.
        optimise_mask: (1, C_e, H_e, W_e), where the embedding may change; everywhere by default.
        ignore_mask: (H, W), where the pictures need not be restored.
        progress: called after each step.

    Returns:
        (1, C_e, H_e, W_e), to be rounded; ``embedding`` itself where nothing better was found.
    """
    if not search.steps:
        return embedding
    reference = (255 * net.reference(images)).round()
    start = embedding - reference
    mask = torch.ones_like(start) if optimise_mask is None else optimise_mask.to(start)
    with _frozen(net):
        refinement = _Refinement(net, images, reference, start, mask, ignore_mask, layer)
        return refinement.run(search, progress, embedding)


class _Refinement:
    """The state of one refinement; offsets are relative to the reference, in 0..255 units."""

    def __init__(
        self,
        net: IICNet,
        images: Tensor,
        reference: Tensor,
        start: Tensor,
        mask: Tensor,
        ignore_mask: Tensor | None,
        layer: Callable[[Tensor], Tensor],
    ) -> None:
        self._net, self._images, self._reference = net, images, reference
        self._start, self._mask, self._ignore_mask, self._layer = start, mask, ignore_mask, layer
        self._fixed = _mean_square((1 - mask) * start)
        self._initial = max(_mean_square(start), _MIN_MSE)

    def run(self, search: Search, progress: SearchProgress, embedding: Tensor) -> Tensor:
        """Take all steps; see :func:`refine_embedding`."""
        target = search.target
        distance = self._initial
        goal = distance if target.embed_psnr is None else psnr_to_mse(target.embed_psnr)
        offset = self._start.clone().requires_grad_()
        rate = _LEARNING_RATE * math.sqrt(min(distance, goal))
        optimizer = torch.optim.Adam([offset], rate, betas=(0.9, 0.95))
        for step in range(search.steps):
            optimizer.param_groups[0]["lr"] = rate * _schedule(step, search.steps)
            pictures = self._restore(offset)
            if step % _STEPS_BETWEEN_LAYERS == 0:
                correction = self._layer(pictures.detach())
            error = self._error(pictures, correction)
            if step == 0:
                first_error = error.item()
            optimizer.zero_grad()
            # The number of values keeps the gradient from vanishing in Adam's epsilon.
            (offset.numel() * error).backward()  # type: ignore[no-untyped-call]
            if target.restored_psnr is not None:
                lacking = math.log(error.item() / psnr_to_mse(target.restored_psnr))
                farthest = _MAX_DISTANCE_FACTOR * self._initial
                goal = min(distance * math.exp(_FOLLOW_RATE * lacking), farthest)
            change = math.log(goal / distance)
            distance *= math.exp(min(max(change, -_MAX_DISTANCE_CHANGE), _MAX_DISTANCE_CHANGE))
            self._step(optimizer, offset, distance)
            if target.restored_psnr is None:
                gained = first_error / error.item()
            else:
                gained = self._initial / max(_mean_square(offset), _MIN_MSE)
            progress((step + 1) / search.steps, 10 * math.log10(gained))
        with torch.no_grad():
            found = offset.detach()
            if target.embed_psnr is not None:
                found = self._within(found, goal)
            if target.is_default:
                pictures = self._restore(found)
                if self._error(pictures, self._layer(pictures)).item() >= first_error:
                    return embedding
        return self._reference + found

    def _restore(self, offset: Tensor) -> Tensor:
        pictures = self._net.inverse((self._reference + offset) / 255)
        if self._ignore_mask is None:
            return pictures
        return torch.where(self._ignore_mask, self._images, pictures)

    def _error(self, pictures: Tensor, correction: Tensor) -> Tensor:
        """Mean squared error of the restored pictures with their layer, in squared 0..255 units."""
        return 255**2 * (pictures + correction - self._images).square().mean().clamp(min=_MIN_MSE)

    @torch.no_grad()
    def _step(self, optimizer: torch.optim.Optimizer, offset: Tensor, distance: float) -> None:
        """One step of the optimiser that stays within a mean squared distance."""
        assert offset.grad is not None
        offset.grad *= self._mask
        if _mean_square(offset) > _SPHERE_SHARE * distance:
            offset.grad = _project_onto_sphere(offset.grad, self._mask * offset)
        optimizer.step()
        offset.copy_(self._within(offset, distance))

    def _within(self, offset: Tensor, distance: float) -> Tensor:
        """The offset with a mean square of at most ``distance``; only masked values are scaled."""
        moving = max(_mean_square(self._mask * offset), _MIN_MSE)
        factor = math.sqrt(max(distance - self._fixed, 0) / moving)
        return torch.lerp(self._start, min(1.0, factor) * offset, self._mask).clamp(
            -self._reference, 255 - self._reference
        )


def _layer_correction(wanted: PixelArray, layer_bytes: int) -> Callable[[Tensor], Tensor]:
    """A function that codes a layer of that size and returns what it adds, in 0..1."""
    plan: LayerPlan | None = None

    def correction(restored: Tensor) -> Tensor:
        nonlocal plan
        fixed = tensor_to_fixed_point(restored, clamped=wanted.dtype == np.uint8)[0]
        plan = plan or plan_layer(wanted, fixed, layer_bytes)
        if plan is None:
            return torch.zeros_like(restored)
        added = torch.from_numpy(plan.correction(fixed, layer_bytes)).movedim(-1, -3)
        return added[None].to(restored) / (255 * FRACTION)

    return correction


def _progress_of_tile(progress: SearchProgress, tile: int, count: int) -> SearchProgress:
    """Progress within one tile as progress within all of them."""
    return lambda share, gain: progress((tile + share) / count, gain)


def _schedule(step: int, steps: int) -> float:
    """The share of the learning rate for a step: rising over half of the steps, then falling."""
    return min(1.0, 2 * (step + 1) / steps) * (1 - 0.95 * step / steps)


def _project_onto_sphere(gradient: Tensor, offset: Tensor) -> Tensor:
    """The gradient without the part along which a descent would leave the sphere."""
    inwards = (gradient * offset).sum()
    if inwards >= 0:
        return gradient
    return gradient - inwards / offset.square().sum() * offset


def _mean_square(offset: Tensor) -> float:
    return offset.square().mean().item()


@contextmanager
def _frozen(net: IICNet) -> Iterator[None]:
    """No gradients for the weights while the context is open."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    for p in parameters:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in parameters:
            p.requires_grad_(True)
