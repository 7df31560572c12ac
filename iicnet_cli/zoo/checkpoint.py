"""A checkpoint folder: its description, and reading and writing of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from iicnet_cli.errors import ModelError
from iicnet_cli.network.config import MAX_WEIGHTS, IICNetConfig
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter

if TYPE_CHECKING:
    from torch import Tensor

    from iicnet_cli.network.iicnet import IICNet

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
RECIPE_FILE = "recipe.toml"

MAX_CONFIG_BYTES = 1 << 20
"""Descriptions are cut after so many bytes, and then are not valid."""
MAX_WEIGHTS_BYTES = 4 * MAX_WEIGHTS + (1 << 20)
"""Larger files of weights are not read."""

_FILTER_DECIMALS = 4
"""Coefficients of the noise-shaping filter are stored with this many decimals."""

_Coefficients = tuple[tuple[tuple[FiniteFloat, ...], ...], ...]


class TrainingRecord(BaseModel):
    """How the weights were trained."""

    model_config = ConfigDict(frozen=True)

    steps: int = 0
    minutes: float = 0.0
    machine: str = ""
    data: str = ""
    seed: int = 0
    started_from: str | None = None


class ModelConfig(BaseModel):
    """The contents of a checkpoint's ``config.json``.

    Attributes:
        format: version of this format.
        name: name of the checkpoint.
        version: weights that take the place of others of this name have a higher one. The others
            stay, for files name weights by hash.
        task: task for which it was made.
        network: architecture of the network.
        weights_sha256: hash of the weights file.
        licence: SPDX expression.
        origin: where the weights come from.
        training: how they were trained.
        noise_shaping: coefficients of the noise-shaping filter, key ``feedback`` in the file.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    format: int = Field(default=1, ge=1, le=1)
    name: str
    version: int = Field(default=1, ge=1, le=999)
    task: str
    network: IICNetConfig
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str = "MIT"
    origin: str = ""
    training: TrainingRecord = TrainingRecord()
    noise_shaping: _Coefficients | None = Field(default=None, alias="feedback")

    @model_validator(mode="after")
    def _filter_has_shape(self) -> ModelConfig:
        channels = self.network.embedding_channels
        coefficients = self.noise_shaping
        if coefficients is not None and (
            len(coefficients) != len(NEIGHBOURS)
            or any(len(matrix) != channels for matrix in coefficients)
            or any(len(row) != channels for matrix in coefficients for row in matrix)
        ):
            raise ValueError(f"feedback is not {len(NEIGHBOURS)} x {channels} x {channels}")
        return self


@dataclass(frozen=True)
class Provenance:
    """Licence, origin and training of weights, as :class:`ModelConfig` has them."""

    licence: str = "MIT"
    origin: str = ""
    training: TrainingRecord = field(default_factory=TrainingRecord)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk, whose weights only :meth:`load` reads."""

    folder: Path
    config: ModelConfig

    @property
    def name(self) -> str:
        """The name of the checkpoint, which need not be that of its folder."""
        return self.config.name

    @property
    def size(self) -> int:
        """Size of the weights file, bytes."""
        return (self.folder / WEIGHTS_FILE).stat().st_size

    @property
    def noise_shaping(self) -> NoiseShapingFilter | None:
        """The filter that shapes the rounding errors of embeddings; ``None`` for plain rounding."""
        coefficients = self.config.noise_shaping
        return None if coefficients is None else np.array(coefficients, np.float32)

    def load(self) -> IICNet:
        """Read the weights strictly into a network.

        Returns:
            The network in evaluation mode, fp32, on the CPU.

        Raises:
            ModelError: the weights are missing, damaged or those of another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from iicnet_cli.network.iicnet import IICNet

        path = self.folder / WEIGHTS_FILE
        try:
            if path.stat().st_size > MAX_WEIGHTS_BYTES:
                raise ModelError(f"the weights {path} are too large for any network")
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the weights {path}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.config.weights_sha256:
            raise ModelError(
                f"the weights {path} do not have the hash that {CONFIG_FILE} states",
                hint="the file is damaged or was replaced: install or copy the model again",
            )
        try:
            weights = {key: value.float() for key, value in load(data).items()}
            net = IICNet(self.config.network)
            net.load_state_dict(weights)
        except (SafetensorError, RuntimeError, ValueError, MemoryError) as error:
            first = (str(error) or "not enough memory").splitlines()[0]
            raise ModelError(f"the weights {path} do not fit the network: {first}") from error
        _check_weights(weights, path)
        return net.eval().requires_grad_(False)


def _check_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are no numbers, or of which none differs from the others.

    Raises:
        ModelError: saying which.
    """
    for name, values in weights.items():
        if not bool(values.isfinite().all()):
            raise ModelError(f"the weights {path} are unusable: {name} is infinite or no number")
    if all(bool((values == values.flatten()[0]).all()) for values in weights.values()):
        raise ModelError(f"the weights {path} are unusable: all are equal")


def read_config(folder: Path) -> Checkpoint:
    """Read the description of a checkpoint, but not its weights.

    Raises:
        ModelError: the folder is no checkpoint, or its ``config.json`` is not valid.
    """
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES)
        config = ModelConfig.model_validate_json(text, by_alias=True, by_name=False)
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
    version: int = 1,
    half_precision: bool = True,
    noise_shaping: NoiseShapingFilter | None = None,
    provenance: Provenance = Provenance(),
) -> Checkpoint:
    """Write ``config.json`` and ``model.safetensors``.

    Args:
        folder: created if it does not exist; older files of these names are replaced.
        net: the network.
        name: name of the checkpoint.
        task: task for which it is made.
        version: above that of the weights whose place it takes.
        half_precision: store the weights as fp16, else as fp32.
        noise_shaping: filter that shapes the rounding errors of its embeddings.
        provenance: licence, origin and training of the weights.

    Returns:
        The checkpoint. :meth:`Checkpoint.load` returns the weights as they are stored.
    """
    from safetensors.torch import save

    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    if half_precision:
        state = {key: value.half() for key, value in state.items()}
    data = save(state)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(data)
    config = ModelConfig(
        name=name,
        version=version,
        task=task,
        network=net.config,
        weights_sha256=hashlib.sha256(data).hexdigest(),
        licence=provenance.licence,
        origin=provenance.origin,
        training=provenance.training,
        noise_shaping=None if noise_shaping is None else _round_filter(noise_shaping),
    )
    text = config.model_dump_json(indent=2, by_alias=True)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    return Checkpoint(folder, config)


def _round_filter(noise_shaping: NoiseShapingFilter) -> _Coefficients:
    return tuple(
        tuple(tuple(round(float(x), _FILTER_DECIMALS) for x in row) for row in matrix)
        for matrix in noise_shaping
    )
