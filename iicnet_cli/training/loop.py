"""The training loop of ``iicnet train``: one readable file."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from iicnet_cli.engines.network.static_region import copy_static_region
from iicnet_cli.errors import TrainingError
from iicnet_cli.network import IICNet, Quantization
from iicnet_cli.network.compiling import compile_blocks
from iicnet_cli.network.pixels import (
    channels_last,
    to_pixels,
    to_rounding_residual,
    to_signed_pixels,
    to_tensor,
)
from iicnet_cli.network.precision import Precision, set_precision
from iicnet_cli.payload.static_map import CELL as STATIC_CELL
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.pictures.metrics import cap_psnr, psnr
from iicnet_cli.quantize.error_diffusion import rounded
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.training.data import batches
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.losses import total_loss
from iicnet_cli.training.optimizer import build_optimizers
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.samplers import Sampler

STATE_FILE = "training.pt"
LOG_FILE = "log.jsonl"

SPIKE = 10.0
"""A loss so many times its running mean is a divergence: the run goes back to the average."""
MOST_REWINDS = 20
IN_COMMON = 0.3
"""How much errors in the common area count: they only show where the mark is lost."""


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many steps or minutes in all, whichever comes first."""

    steps: int | None
    minutes: float | None

    def progress(self, step: int, seconds: float) -> float:
        """Share 0..1 of the run that is done."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


@dataclass(frozen=True)
class Report:
    """What the loop tells while it runs; PSNR in dB on held-out pictures, after rounding."""

    step: int
    seconds: float
    progress: float
    loss: float
    embed_psnr: float | None = None
    restored_psnr: float | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished (or interrupted) run; ``net`` holds the averaged weights."""

    net: IICNet
    steps: int
    seconds: float
    finished: bool


def train(
    recipe: Recipe,
    sampler: Sampler,
    held_out: list[PixelArray],
    budget: Budget,
    folder: Path,
    *,
    device: torch.device,
    precision: Precision = "fp32",
    compiled: bool = False,
    team: Team = Team(),
    start: IICNet | None = None,
    feedback: NoiseShapingFilter | None = None,
    report: Callable[[Report], None] = lambda report: None,
    evaluate_every: int = 250,
    save_seconds: float = 60,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train, or go on where a run in ``folder`` stopped.

    A run that is bounded by steps gives the same weights whether or not it was interrupted.

    Args:
        recipe: what to train and how.
        sampler: training samples.
        held_out: samples (K, H, W, 3) for the reported PSNRs.
        budget: when to end; the learning rate falls to zero there.
        folder: keeps the state (``training.pt``) and the log (``log.jsonl``).
        device: where to compute.
        precision: of the passes; weights, their updates and the couplings are fp32 in any case.
        compiled: compile the blocks first, and again whenever the crop or batch changes.
        team: the processes that share the work; the first of them keeps the state and reports.
        start: network whose weights a new run starts from, instead of random ones.
        feedback: how the rounding of its embeddings is diffused, in training too.
        report: called after every step.
        evaluate_every: steps between measurements on the held-out samples.
        save_seconds: seconds between saved states.
        stop: asked after every step; True, in any process, saves the state and ends the run early.

    Raises:
        TrainingError: the loss is not finite any more, or the folder's run has another recipe.
        UsageError: the precision is not to be had on the device, or a batch cannot be divided.
        DeviceError: the network cannot be compiled here.
    """
    team.check(recipe)
    torch.manual_seed(recipe.seed)
    net = IICNet(recipe.network)
    if start is not None:
        net.load_state_dict(start.state_dict())
    net = channels_last(net.to(device))
    set_precision(net, precision, device)
    average = AveragedModel(net, multi_avg_fn=_moving_average(recipe.ema))
    averaged: IICNet = average.module  # type: ignore[assignment]
    if compiled:
        compile_blocks(net)
    quantization = Quantization(noise_shaping=feedback).train()
    optimizers = build_optimizers(
        net, recipe.learning_rate, recipe.bias_learning_rate, recipe.weight_decay
    )
    factor = recipe.fine_tuning if start is not None else 1.0
    peaks = [factor * recipe.learning_rate, factor * recipe.bias_learning_rate]

    step, before, usual = _load_state(folder, recipe, net, average, optimizers, team)
    rewinds = 0
    began = saved = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    def progress(at: int) -> float:
        return team.once(lambda: budget.progress(at, seconds()))

    def save() -> None:
        if team.first:
            _save_state(folder, recipe, net, average, optimizers, step, seconds(), usual)

    feed = batches(sampler, recipe, step, progress, team)
    try:
        while (done := progress(step)) < 1:
            images = to_tensor(next(feed), device)
            torch.manual_seed(recipe.seed + step)
            quantization.straight_through = done >= recipe.straight_through
            for optimizer, peak in zip(optimizers, peaks, strict=True):
                optimizer.param_groups[0]["lr"] = peak * _schedule(done, recipe.warmup)

            reference = net.reference(images)
            embedding = net(images)
            shown = team.on_whole_batch(quantization, embedding)
            common = common_pixels(images, embedding.shape)
            if common is None:
                restored = net.inverse(shown)
            else:
                restored = net.inverse(torch.where(common, reference, shown))
                weight = 1 - (1 - IN_COMMON) * common.float()
                embedding = torch.lerp(reference, embedding, weight)
                restored = torch.lerp(images, restored, weight[:, None])
            own_loss = total_loss(embedding, reference, restored, images, recipe.loss_at(done))
            loss = team.average(own_loss).item()
            if usual and loss > SPIKE * usual:
                # The weights have left the region where the exponentials of the coupling are tame,
                # and every further step leads away. The average has hardly moved yet.
                rewinds += 1
                if rewinds > MOST_REWINDS:
                    raise TrainingError(
                        f"the loss has shot up {rewinds} times by step {step}",
                        hint="lower learning_rate in the recipe and start again in a new folder",
                    )
                net.load_state_dict(averaged.state_dict())
                for optimizer in optimizers:
                    optimizer.state.clear()
                step += 1
                continue
            usual = 0.98 * usual + 0.02 * loss if usual else loss
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            own_loss.backward()
            team.average_gradients(net)
            norm = nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            if not (math.isfinite(loss) and math.isfinite(norm.item())):
                raise TrainingError(
                    f"the loss is not finite at step {step}",
                    hint="lower learning_rate in the recipe and start again in a new folder",
                )
            for optimizer in optimizers:
                optimizer.step()
            average.update_parameters(net)
            step += 1

            measured: tuple[float, float] | tuple[None, None] = (None, None)
            if step % evaluate_every == 0 and team.first:
                measured = measure(averaged, held_out, device, feedback)
            if team.first:
                line = Report(step, seconds(), budget.progress(step, seconds()), loss, *measured)
                report(line)
                if measured[0] is not None:
                    _log(folder, line)
            ended = team.anyone(stop())
            if ended or time.monotonic() - saved > save_seconds:
                save()
                saved = time.monotonic()
            if ended:
                break
    finally:
        feed.close()

    save()
    return Outcome(averaged.cpu().eval(), step, seconds(), finished=progress(step) >= 1)


def common_pixels(images: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Where embeddings are made the references (``common.py``).

    Args:
        images: (B, K, C, H, W), the references first.
        shape: of the embeddings, (B, C_e, H_e, W_e).

    Returns:
        (B, 1, H, W) bool; ``None`` if embeddings have another size or number of channels.
    """
    if images.shape[2:] != shape[1:] or images.shape[1] == 1:
        return None
    height, width = images.shape[-2:]
    differs = (images[:, 1:] != images[:, :1]).any(dim=1).any(dim=1, keepdim=True).float()
    cells = functional.max_pool2d(differs, STATIC_CELL, ceil_mode=True)
    common = functional.interpolate(cells, scale_factor=STATIC_CELL) == 0
    return common[..., :height, :width]


@torch.inference_mode()
def measure(
    net: IICNet,
    samples: list[PixelArray],
    device: torch.device,
    feedback: NoiseShapingFilter | None = None,
) -> tuple[float, float]:
    """Mean PSNR of the rounded embeddings, and of all restored images, in dB."""
    embed, restored = [], []
    for sample in samples:
        images = to_tensor(sample[None], device)
        values = net(images)
        reference = to_pixels(net.reference(images))[0]
        levels, rest = to_pixels(values)[0], to_rounding_residual(values)[0]
        area = copy_static_region(sample, UnroundedEmbedding(levels, rest))
        kept = area.mask(*levels.shape[:2]) if area else None
        embedding = rounded(levels, rest, feedback, kept=kept)
        back = to_signed_pixels(net.inverse(to_tensor(embedding[None], device)))[0]
        if area:
            area.put(back, embedding)
        embed.append(cap_psnr(psnr(embedding, reference)))
        restored += [cap_psnr(psnr(a, b)) for a, b in zip(back, sample, strict=True)]
    return float(np.mean(embed)), float(np.mean(restored))


def _moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential moving average that reaches back a tenth of the steps so far, ``decay`` later."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Tensor) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return update


def _schedule(progress: float, warmup: float) -> float:
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def _save_state(
    folder: Path,
    recipe: Recipe,
    net: nn.Module,
    average: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    step: int,
    seconds: float,
    usual_loss: float,
) -> None:
    state = {
        "recipe": recipe.model_dump_json(),
        "net": net.state_dict(),
        "average": average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "step": step,
        "seconds": seconds,
        "usual_loss": usual_loss,
    }
    temporary = folder / (STATE_FILE + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, folder / STATE_FILE)


def _load_state(
    folder: Path,
    recipe: Recipe,
    net: nn.Module,
    average: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    team: Team,
) -> tuple[int, float, float]:
    state: dict[str, Any] | None = team.once(lambda: _read_state(folder))
    if state is None:
        return 0, 0.0, 0.0
    if Recipe.model_validate_json(state["recipe"]) != recipe:
        raise TrainingError(
            f"{folder} holds a run with another recipe",
            hint="choose another output folder, or remove this one",
        )
    net.load_state_dict(state["net"])
    average.load_state_dict(state["average"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"], state["usual_loss"]


def _read_state(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE_FILE
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _log(folder: Path, line: Report) -> None:
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line.__dict__) + "\n")
