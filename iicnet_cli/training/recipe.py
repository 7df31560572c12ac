"""A recipe: the settings of a training run, all but its data and its budget."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from iicnet_cli.errors import UsageError
from iicnet_cli.network.config import IICNetConfig


class LossConfig(BaseModel):
    """Form and weights of the loss, equation (13); see ``training/losses.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["explicit", "paper", "psnr"] = "explicit"
    embedding: float = Field(default=11.4, ge=0, description="Weight of the embedding's error.")
    frequency: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the error of the embedding's spectrum; paper form only.",
    )
    restored: float = Field(
        default=3.0, ge=0, description="Weight of the error of the restored pictures."
    )
    embedding_psnr_cap: float | None = Field(
        default=None,
        gt=0,
        description="An embedding whose PSNR in dB is above this counts as if it had just this "
        "PSNR; psnr form only.",
    )
    layer_threshold: float | None = Field(
        default=None,
        gt=0,
        description="Errors of restored pictures whose DCT coefficients have more energy than "
        "this, in squared 8-bit sample values, are left to the enhancement layer and count by "
        "the logarithm (``training/rate_proxy.py``); psnr form only.",
    )
    restored_mean: Literal["error", "psnr"] = Field(
        default="error",
        description="Which quantity of the restored pictures is averaged; psnr form only.",
    )

    @model_validator(mode="after")
    def _check_terms_fit_form(self) -> Self:
        if self.form != "paper" and self.frequency:
            raise ValueError("the frequency term exists in the paper's form only")
        for name in ("embedding_psnr_cap", "layer_threshold", "restored_mean"):
            default = type(self).model_fields[name].default
            if self.form != "psnr" and getattr(self, name) != default:
                raise ValueError(f"'{name}' exists in the psnr form only")
        if not self.embedding + self.frequency + self.restored:
            raise ValueError("one of the weights must be above 0")
        return self


class Stage(BaseModel):
    """A part of the run with its own crop and batch size, and optionally its own loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: float = Field(gt=0, le=1, description="Share of the run at which the stage ends.")
    crop: int = Field(ge=16, multiple_of=2, description="Side of the samples, in pixels.")
    batch: int = Field(ge=1, description="Samples in a step.")
    loss: LossConfig | None = Field(default=None, description="Replaces the recipe's loss.")


class Recipe(BaseModel):
    """One training run, as read from a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: int = Field(
        default=1,
        ge=1,
        le=999,
        description="Above that of the weights of this name whose place the new ones take.",
    )
    task: Literal["video", "stereo", "dual", "layers", "stego", "grayscale", "rescale"]
    network: IICNetConfig
    loss: LossConfig = LossConfig()

    steps: int | None = Field(default=None, ge=1, description="Default budget in steps.")
    minutes: float | None = Field(default=None, gt=0, description="Default budget in minutes.")
    stages: tuple[Stage, ...] = (
        Stage(until=0.7, crop=96, batch=4),
        Stage(until=1.0, crop=144, batch=4),
    )

    learning_rate: float = Field(default=5e-3, gt=0, description="Peak learning rate of Muon.")
    bias_learning_rate: float = Field(
        default=2e-3, gt=0, description="Peak learning rate of AdamW."
    )
    fine_tuning: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Factor on both learning rates if the run starts from a checkpoint.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Decoupled decay of the kernels.")
    warmup: float = Field(
        default=0.03, ge=0, lt=1, description="Share of the run in which the rates rise."
    )
    max_gradient_norm: float = Field(
        default=1.0, gt=0, description="Gradients with a larger norm are scaled down to this."
    )
    ema: float = Field(
        default=0.998, ge=0, lt=1, description="Decay per step of the averaged weights."
    )
    straight_through: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the run after which embeddings are rounded, with a straight-through "
        "gradient, instead of noise being added.",
    )

    strides: tuple[int, ...] = Field(
        default=(1, 1, 1, 2, 3),
        description="video: steps between the frames of a sample, drawn with equal probability.",
    )
    synthetic: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="video, stereo: share of the samples that are made from moving photos.",
    )
    scenes: int = Field(
        default=0,
        ge=0,
        description="video: number of groups of frames whose motion is found once, before the "
        "training; with 0, the motion of every sample is found when it is drawn.",
    )

    seed: int = 0

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1:
            raise ValueError("stages must be in order and the last must have until = 1")
        return self

    @property
    def largest_crop(self) -> int:
        """Side in pixels of the largest samples of the run."""
        return max(stage.crop for stage in self.stages)

    def stage(self, progress: float) -> Stage:
        """Return the stage at ``progress``, a share 0 to 1 of the run."""
        return next((s for s in self.stages if progress < s.until), self.stages[-1])

    def loss_at(self, progress: float) -> LossConfig:
        """Return the loss at ``progress``, a share 0 to 1 of the run."""
        return self.stage(progress).loss or self.loss

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe from a TOML file.

        Raises:
            UsageError: the file is missing or is not TOML, or a field is unknown or out of range.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path} is not a TOML file: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"recipe {path}: {where}: {first['msg']}") from error
