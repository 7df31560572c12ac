"""A recipe: everything that a training run depends on except the data's place and the budget."""

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
    embedding: float = Field(default=11.4, ge=0)
    frequency: float = Field(default=0.0, ge=0, description="paper form only")
    restored: float = Field(default=3.0, ge=0)
    enough: float | None = Field(
        default=None, gt=0, description="psnr form only: dB of the embedding that need not be more"
    )
    mended: float | None = Field(
        default=None,
        gt=0,
        description="psnr form only: squared levels from which on errors of restored pictures are "
        "an enhancement layer's to mend (``iicnet_cli/residual.py``)",
    )
    mean_of: Literal["errors", "decibels"] = Field(
        default="errors", description="psnr form only: over the restored pictures"
    )

    @model_validator(mode="after")
    def _terms_belong_to_forms(self) -> Self:
        if self.form != "paper" and self.frequency:
            raise ValueError("the frequency term exists in the paper's form only")
        for name in ("enough", "mended", "mean_of"):
            default = type(self).model_fields[name].default
            if self.form != "psnr" and getattr(self, name) != default:
                raise ValueError(f"'{name}' exists in the psnr form only")
        if not self.embedding + self.frequency + self.restored:
            raise ValueError("one of the weights must be above 0")
        return self


class Stage(BaseModel):
    """A part of the run with its own crop and batch size, and its own loss if given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: float = Field(gt=0, le=1, description="share of the run at which the stage ends")
    crop: int = Field(ge=16, multiple_of=2, description="pixels")
    batch: int = Field(ge=1)
    loss: LossConfig | None = Field(default=None, description="instead of the recipe's")


class Recipe(BaseModel):
    """One training run, as read from a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    task: Literal["video", "stereo", "dual", "layers", "stego", "grayscale", "rescale"]
    network: IICNetConfig
    loss: LossConfig = LossConfig()

    steps: int | None = Field(default=None, ge=1, description="default budget")
    minutes: float | None = Field(default=None, gt=0, description="default budget")
    stages: tuple[Stage, ...] = (
        Stage(until=0.7, crop=96, batch=4),
        Stage(until=1.0, crop=144, batch=4),
    )

    learning_rate: float = Field(default=5e-3, gt=0, description="of Muon, at its peak")
    bias_learning_rate: float = Field(default=2e-3, gt=0, description="of AdamW, at its peak")
    fine_tuning: float = Field(
        default=0.2, gt=0, le=1, description="factor of both rates when starting from a checkpoint"
    )
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of the run")
    clip: float = Field(default=1.0, gt=0, description="norm that gradients are clipped to")
    ema: float = Field(default=0.998, ge=0, lt=1)
    straight_through: float = Field(
        default=1.0, ge=0, le=1, description="share of the run from which rounding replaces noise"
    )

    strides: tuple[int, ...] = Field(default=(1, 1, 1, 2, 3), description="video: frame steps")
    synthetic: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="video, stereo: share of samples made from moving photos",
    )

    scenes: int = Field(
        default=0,
        ge=0,
        description="video: groups of frames whose motion is found once, before training; "
        "0: that of each sample anew",
    )

    seed: int = 0

    @model_validator(mode="after")
    def _stages_end(self) -> Self:
        ends = [stage.until for stage in self.stages]
        if not ends or ends != sorted(ends) or ends[-1] != 1:
            raise ValueError("stages must be in order and the last must have until = 1")
        return self

    def stage(self, progress: float) -> Stage:
        """The stage at a share 0..1 of the run."""
        return next((s for s in self.stages if progress < s.until), self.stages[-1])

    def loss_at(self, progress: float) -> LossConfig:
        """The loss at a share 0..1 of the run."""
        return self.stage(progress).loss or self.loss

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises:
            UsageError: missing, no TOML, or a field is unknown or out of range.
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
