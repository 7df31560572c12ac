"""A checkpoint folder: its description, and reading and writing of the weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from iicnet_cli.errors import ModelError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter

if TYPE_CHECKING:
    from iicnet_cli.network.iicnet import IICNet

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
RECIPE_FILE = "recipe.toml"


class TrainingRecord(BaseModel):
    """How the weights came to be."""

    model_config = ConfigDict(frozen=True)

    steps: int = 0
    minutes: float = 0.0
    machine: str = ""
    data: str = ""
    seed: int = 0
    started_from: str | None = None


class ModelConfig(BaseModel):
    """``config.json`` of a checkpoint."""

    model_config = ConfigDict(frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    name: str
    task: str
    network: IICNetConfig
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str = "MIT"
    origin: str = ""
    training: TrainingRecord = TrainingRecord()
    feedback: tuple[tuple[tuple[FiniteFloat, ...], ...], ...] | None = None

    @model_validator(mode="after")
    def _feedback_fits(self) -> ModelConfig:
        channels = self.network.embedding_channels
        if self.feedback is not None and (
            len(self.feedback) != len(NEIGHBOURS)
            or any(len(square) != channels for square in self.feedback)
            or any(len(row) != channels for square in self.feedback for row in square)
        ):
            raise ValueError(f"feedback is not {len(NEIGHBOURS)} x {channels} x {channels}")
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; the weights are read by :meth:`load` only."""

    folder: Path
    config: ModelConfig

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return (self.folder / WEIGHTS_FILE).stat().st_size

    @property
    def feedback(self) -> NoiseShapingFilter | None:
        """How the rounding of embeddings is to be diffused; ``None`` if it is not."""
        told = self.config.feedback
        return None if told is None else np.array(told, np.float32)

    def load(self) -> IICNet:
        """Read the weights, strictly, into a network in evaluation mode (fp32, CPU).

        Raises:
            ModelError: missing or damaged weights, or weights of another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from iicnet_cli.network.iicnet import IICNet

        path = self.folder / WEIGHTS_FILE
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the weights {path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.config.weights_sha256:
            raise ModelError(
                f"the weights {path} do not have the hash that {CONFIG_FILE} states",
                hint="the file is damaged or was replaced: install or copy the model again",
            )
        net = IICNet(self.config.network)
        try:
            net.load_state_dict({key: value.float() for key, value in load(data).items()})
        except (SafetensorError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise ModelError(f"the weights {path} do not fit the network: {first}") from error
        return net.eval().requires_grad_(False)


def _numbers(feedback: NoiseShapingFilter) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(tuple(tuple(round(float(x), 4) for x in row) for row in at) for at in feedback)


def read_config(folder: Path) -> Checkpoint:
    """Read a checkpoint's description.

    Raises:
        ModelError: not a checkpoint folder, or its ``config.json`` is not valid.
    """
    path = folder / CONFIG_FILE
    try:
        config = ModelConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(
            f"{folder} is not a model folder: no {CONFIG_FILE}", hint="see: iicnet models list"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path} is not valid: {where}: {first['msg']}") from error
    return Checkpoint(folder, config)


def write_checkpoint(
    folder: Path,
    net: IICNet,
    *,
    name: str,
    task: str,
    half: bool = True,
    licence: str = "MIT",
    origin: str = "",
    training: TrainingRecord | None = None,
    feedback: NoiseShapingFilter | None = None,
) -> Checkpoint:
    """Write ``config.json`` and ``model.safetensors``.

    Args:
        folder: created if missing; older files of the same names are replaced.
        net: the network.
        name: name of the checkpoint.
        task: task it is made for.
        half: store the weights as fp16, else as fp32.
        licence: SPDX expression.
        origin: where the weights come from.
        training: how they were made.
        feedback: how the rounding of embeddings is to be diffused.

    Returns:
        The checkpoint; :meth:`Checkpoint.load` gives the weights as they are now stored.
    """
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    if half:
        state = {key: value.half() for key, value in state.items()}
    data = save(state)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(data)
    config = ModelConfig(
        name=name,
        task=task,
        network=net.config,
        weights_sha256=hashlib.sha256(data).hexdigest(),
        licence=licence,
        origin=origin,
        training=training or TrainingRecord(),
        feedback=None if feedback is None else _numbers(feedback),
    )
    (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Checkpoint(folder, config)
