"""What a training run is given: what to train, where, for how long, and whom to report to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from iicnet_cli.network import IICNet
from iicnet_cli.network.precision import Precision
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingPlan:
    """What to train.

    Attributes:
        recipe: the settings of the run.
        start: the network whose weights a new run starts from; random weights by default.
        noise_shaping: the filter that shapes the rounding noise in training. It should be the one
            with which embeddings are rounded later; white noise by default.
    """

    recipe: Recipe
    start: IICNet | None = None
    noise_shaping: NoiseShapingFilter | None = None


@dataclass(frozen=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: the device of this process.
        precision: precision of the forward and backward passes. Weights, their updates and the
            couplings are fp32 in any case.
        compiled: compile the blocks first, and again whenever the crop or the batch size changes.
        team: the processes that share the work. The first of them saves and reports.
    """

    device: torch.device
    precision: Precision = "fp32"
    compiled: bool = False
    team: Team = field(default_factory=Team)


@dataclass(frozen=True)
class Budget:
    """How long a run lasts, its earlier sittings included; the first limit that is reached ends it.

    Attributes:
        steps: number of steps, or ``None``.
        minutes: wall-clock minutes, or ``None``.
    """

    steps: int | None = None
    minutes: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done after ``step`` steps, 0 to 1."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


@dataclass(frozen=True)
class StepReport:
    """The state of a run after one step.

    Attributes:
        step: number of steps taken so far.
        seconds: wall-clock time of the run so far, its earlier sittings included.
        progress: share of the run that is done, 0 to 1.
        loss: loss of this step's batch.
        embed_psnr: PSNR of the embeddings of the held-out samples after rounding, in dB, or
            ``None`` if this step measured nothing.
        restored_psnr: PSNR of the pictures restored from these embeddings, likewise.
    """

    step: int
    seconds: float
    progress: float
    loss: float
    embed_psnr: float | None = None
    restored_psnr: float | None = None


@dataclass(frozen=True)
class Hooks:
    """What the loop calls while it runs, and how often it measures and saves.

    Attributes:
        report: called after every step, in the first process.
        stop: asked after every step, in every process. If one of them answers True, the state is
            saved and the run ends early.
        evaluate_every: number of steps between two measurements on the held-out samples.
        save_seconds: seconds between two saved states.
    """

    report: Callable[[StepReport], None] = lambda report: None
    stop: Callable[[], bool] = lambda: False
    evaluate_every: int = 250
    save_seconds: float = 60
