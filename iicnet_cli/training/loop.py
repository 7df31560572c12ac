"""The training loop of ``iicnet train``."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.errors import TrainingError
from iicnet_cli.network import IICNet, Quantization
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.payload.static_map import STATIC_CELL
from iicnet_cli.training.data import TrainingData, batches
from iicnet_cli.training.losses import total_loss
from iicnet_cli.training.optimizer import learning_rate_factor
from iicnet_cli.training.plan import Budget, Compute, Hooks, StepReport, TrainingPlan
from iicnet_cli.training.state import TrainingState
from iicnet_cli.training.validation import measure

LOG_FILE = "log.jsonl"
"""Name of the file in the model folder to which every measurement is appended, one JSON a line."""

DIVERGENCE_FACTOR = 10.0
"""A loss of more than this many times its running mean counts as a divergence."""
MAX_REWINDS = 20
"""A run that diverges more often than this in one sitting ends with an error."""
STATIC_WEIGHT = 0.3
"""Weight of errors of static pixels in the loss, where 1 is that of all other pixels.

They only show where the mark is lost, because ``embed`` copies these pixels from the reference.
"""


@dataclass(frozen=True)
class Outcome:
    """The end of a run, or of one sitting of it.

    Attributes:
        net: the averaged network, on the CPU, in evaluation mode.
        steps: number of steps taken in all.
        seconds: wall-clock time of the run, its earlier sittings included.
        finished: False if the run was stopped before its budget was used up.
    """

    net: IICNet
    steps: int
    seconds: float
    finished: bool


def train(
    plan: TrainingPlan,
    data: TrainingData,
    folder: Path,
    budget: Budget,
    compute: Compute,
    hooks: Hooks = Hooks(),
) -> Outcome:
    """Train a network, or continue the run that was interrupted in ``folder``.

    A run that is bounded by steps gives the same weights whether or not it was interrupted.

    Args:
        plan: what to train.
        data: the sampler, and the held-out samples on which the reported PSNRs are measured.
        folder: an existing folder for the state and the log of the run.
        budget: how long to train. The learning rate falls to zero at its end.
        compute: where and how to compute.
        hooks: what to call while the run goes on.

    Raises:
        TrainingError: the loss is not finite or keeps diverging, or the folder holds a run with
            another recipe.
        UsageError: the precision is not available on the device, or a batch cannot be divided
            evenly among the processes.
        DeviceError: the network cannot be compiled on this machine.
    """
    return _Run(plan, data, folder, budget, compute, hooks).go()


class _Run:
    """One sitting of a run: from its start, or its last saved state, to its end or a stop."""

    def __init__(
        self,
        plan: TrainingPlan,
        data: TrainingData,
        folder: Path,
        budget: Budget,
        compute: Compute,
        hooks: Hooks,
    ) -> None:
        compute.team.check(plan.recipe)
        self.plan, self.data, self.folder, self.budget = plan, data, folder, budget
        self.compute, self.hooks = compute, hooks
        self.recipe, self.team = plan.recipe, compute.team
        self.state = TrainingState(plan, compute)
        self.quantization = Quantization(noise_shaping=plan.noise_shaping).train()
        self.state.resume(folder, self.recipe, self.team)
        self.rewinds = 0

    def go(self) -> Outcome:
        """Take steps until the budget is used up or a process asks to stop."""
        state, team = self.state, self.team
        saved_at = time.monotonic()
        stopped = False
        feed = batches(self.data.sampler, self.recipe, state.step, self.progress, team)
        try:
            while not stopped and (progress := self.progress(state.step)) < 1:
                loss = self.loss(to_tensor(next(feed), self.compute.device), progress)
                mean_loss = team.average(loss).item()
                if state.running_loss and mean_loss > DIVERGENCE_FACTOR * state.running_loss:
                    self.rewind()
                    continue
                self.descend(loss, mean_loss)
                if team.first:
                    self.report(mean_loss)
                stopped = team.anyone(self.hooks.stop())
                if time.monotonic() - saved_at > self.hooks.save_seconds:
                    self.save()
                    saved_at = time.monotonic()
        finally:
            feed.close()
        self.save()
        return Outcome(
            state.average.cpu().eval(), state.step, state.seconds, self.progress(state.step) >= 1
        )

    def progress(self, step: int) -> float:
        """Return the share of the run that is done, which all processes agree on."""
        return self.team.once(lambda: self.budget.progress(step, self.state.seconds))

    def loss(self, images: Tensor, progress: float) -> Tensor:
        """Embed and restore this process's rows (B, K, C, H, W) of a batch; return the loss."""
        state, recipe = self.state, self.recipe
        torch.manual_seed(recipe.seed + state.step)
        self.quantization.straight_through = progress >= recipe.straight_through
        state.set_learning_rates(learning_rate_factor(progress, recipe.warmup))

        reference = state.net.reference(images)
        embedding = state.net(images)
        quantized = self.team.on_whole_batch(self.quantization, embedding)
        static = static_pixels(images, embedding.shape)
        if static is None:
            restored = state.net.inverse(quantized)
        else:
            restored = state.net.inverse(torch.where(static, reference, quantized))
            weight = 1 - (1 - STATIC_WEIGHT) * static.float()
            embedding = torch.lerp(reference, embedding, weight)
            restored = torch.lerp(images, restored, weight[:, None])
        return total_loss(embedding, reference, restored, images, recipe.loss_at(progress))

    def descend(self, loss: Tensor, mean_loss: float) -> None:
        """Take one step along the gradients, averaged over all processes and clipped."""
        state = self.state
        state.clear_gradients()
        loss.backward()
        self.team.average_gradients(state.net)
        norm = nn.utils.clip_grad_norm_(state.net.parameters(), self.recipe.max_gradient_norm)
        if not (math.isfinite(mean_loss) and math.isfinite(norm.item())):
            raise _divergence(f"the loss is not finite at step {state.step}")
        state.update(mean_loss)

    def rewind(self) -> None:
        """Return to the averaged weights after a divergence.

        The weights have left the region where the exponentials of the couplings are tame, and every
        further step leads away from it. The average has hardly moved yet.
        """
        self.rewinds += 1
        if self.rewinds > MAX_REWINDS:
            raise _divergence(
                f"the loss has shot up {self.rewinds} times by step {self.state.step}"
            )
        self.state.rewind()

    def report(self, loss: float) -> None:
        """Report the step just taken, with a measurement if one is due."""
        state, shaping = self.state, self.plan.noise_shaping
        measured: tuple[float, float] | tuple[None, None] = (None, None)
        due = state.step % self.hooks.evaluate_every == 0
        if due:
            measured = measure(state.average, self.data.held_out, self.compute.device, shaping)
        progress = self.budget.progress(state.step, state.seconds)
        report = StepReport(state.step, state.seconds, progress, loss, *measured)
        self.hooks.report(report)
        if due:
            with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(report)) + "\n")

    def save(self) -> None:
        """Save the state, in the first process only."""
        if self.team.first:
            self.state.save(self.folder, self.recipe)


def _divergence(message: str) -> TrainingError:
    hint = "lower learning_rate in the recipe and start again in a new folder"
    return TrainingError(message, hint=hint)


def static_pixels(images: Tensor, embedding_shape: tuple[int, ...]) -> Tensor | None:
    """Find the pixels that ``embed`` copies from the reference, as all pictures agree there.

    It is the static region of :mod:`iicnet_cli.engines.network.static_region`, in cells of 8x8
    pixels, but of a batch and without its lower limit of size.

    Args:
        images: (B, K, C, H, W), the references first.
        embedding_shape: (B, C_e, H_e, W_e).

    Returns:
        (B, 1, H, W) bool, or ``None`` if embeddings differ from the references in size or number of
        channels, or if there is a single picture.
    """
    if images.shape[2:] != embedding_shape[1:] or images.shape[1] == 1:
        return None
    height, width = images.shape[-2:]
    differs = (images[:, 1:] != images[:, :1]).any(dim=1).any(dim=1, keepdim=True).float()
    cells = F.max_pool2d(differs, STATIC_CELL, ceil_mode=True)
    static = F.interpolate(cells, scale_factor=STATIC_CELL) == 0
    return static[..., :height, :width]
