"""The state of a training run: all that changes from step to step, saved and loaded as a whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from iicnet_cli.errors import TrainingError
from iicnet_cli.network import IICNet
from iicnet_cli.network.compiling import compile_blocks
from iicnet_cli.network.pixels import channels_last
from iicnet_cli.network.precision import set_precision
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.optimizer import build_optimizers
from iicnet_cli.training.plan import Compute, TrainingPlan
from iicnet_cli.training.recipe import Recipe

STATE_FILE = "training.pt"
"""Name of the file in the model folder that holds the state of an unfinished run."""


class TrainingState:
    """Network, averaged network, optimizers, step, elapsed time and running mean of the loss.

    The state of a run that is bounded by steps does not depend on how often the run was saved,
    interrupted and resumed.

    Args:
        plan: what to train. The recipe's seed decides the random weights.
        compute: where and how to compute.

    Attributes:
        net: the network that the optimizers change.
        average: exponential moving average of its weights, which the run returns.
        optimizers: Muon for the kernels, AdamW for the biases.
        step: number of steps taken so far.
        running_loss: running mean of the loss, or 0 before the first step.

    Raises:
        UsageError: the precision is not available on the device.
    """

    def __init__(self, plan: TrainingPlan, compute: Compute) -> None:
        recipe = plan.recipe
        torch.manual_seed(recipe.seed)
        net = IICNet(recipe.network)
        if plan.start is not None:
            net.load_state_dict(plan.start.state_dict())
        self.net = channels_last(net.to(compute.device))
        set_precision(self.net, compute.precision, compute.device)
        self._averaged = AveragedModel(self.net, multi_avg_fn=_moving_average(recipe.ema))
        self.average: IICNet = self._averaged.module  # type: ignore[assignment]
        if compute.compiled:
            compile_blocks(self.net)
        self.optimizers = build_optimizers(
            self.net, recipe.learning_rate, recipe.bias_learning_rate, recipe.weight_decay
        )
        factor = recipe.fine_tuning if plan.start is not None else 1.0
        self._peak_rates = [factor * recipe.learning_rate, factor * recipe.bias_learning_rate]
        self.step = 0
        self.running_loss = 0.0
        self._earlier_seconds = 0.0
        self._resumed_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run in seconds, its earlier sittings included."""
        return self._earlier_seconds + time.monotonic() - self._resumed_at

    def set_learning_rates(self, factor: float) -> None:
        """Set the learning rates to ``factor``, 0 to 1, times their peaks."""
        for optimizer, peak in zip(self.optimizers, self._peak_rates, strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor

    def clear_gradients(self) -> None:
        """Forget the gradients of the step before."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def update(self, loss: float) -> None:
        """Take one step along the gradients of the network, whose loss was ``loss``."""
        for optimizer in self.optimizers:
            optimizer.step()
        self._averaged.update_parameters(self.net)
        self.step += 1
        mean = self.running_loss
        self.running_loss = 0.98 * mean + 0.02 * loss if mean else loss

    def rewind(self) -> None:
        """Replace the weights by their average and forget the momenta; counts as a step."""
        self.net.load_state_dict(self.average.state_dict())
        for optimizer in self.optimizers:
            optimizer.state.clear()
        self.step += 1

    def save(self, folder: Path, recipe: Recipe) -> None:
        """Write the state to :data:`STATE_FILE` in ``folder``."""
        state = {
            "recipe": recipe.model_dump_json(),
            "net": self.net.state_dict(),
            "average": self._averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "usual_loss": self.running_loss,
        }
        temporary = folder / (STATE_FILE + ".tmp")
        torch.save(state, temporary)
        os.replace(temporary, folder / STATE_FILE)

    def resume(self, folder: Path, recipe: Recipe, team: Team) -> None:
        """Load the state that an interrupted run left in ``folder``, if there is one.

        Raises:
            TrainingError: the state in the folder belongs to a run with another recipe.
        """
        state: dict[str, Any] | None = team.once(lambda: _read(folder / STATE_FILE))
        if state is None:
            return
        if not _is_recipe(state["recipe"], recipe):
            raise TrainingError(
                f"{folder} holds a run with another recipe",
                hint="choose another output folder, or remove this one",
            )
        self.net.load_state_dict(state["net"])
        self._averaged.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]
        self.running_loss = state["usual_loss"]
        self._earlier_seconds = state["seconds"]
        self._resumed_at = time.monotonic()


def _is_recipe(text: str, recipe: Recipe) -> bool:
    """Whether a recipe in JSON is this one; keys that it lacks have their defaults."""
    try:
        return Recipe.model_validate_json(text) == recipe
    except ValidationError:  # a key that this version does not know
        return False


def _read(path: Path) -> dict[str, Any] | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def _moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Build the update of an exponential moving average of weights.

    Early in the run the average reaches back over a tenth of the steps taken so far, because the
    first weights are of no use; later its decay is ``decay`` per step.
    """

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Tensor) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return update
