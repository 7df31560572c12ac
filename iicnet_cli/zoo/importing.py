"""Import of checkpoints of the authors' code."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor

from iicnet_cli.errors import ModelError, OutputExistsError, UsageError
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.official import PUBLISHED_SETTINGS, convert_state_dict, published_task
from iicnet_cli.zoo.checkpoint import CARD_FILE, Checkpoint, Provenance, write_checkpoint
from iicnet_cli.zoo.golden import fit_task_noise_shaping, write_golden
from iicnet_cli.zoo.registry import user_folder


def import_official(source: Path, name: str, output: Path | None, *, overwrite: bool) -> Checkpoint:
    """Convert a ``.pth`` file of the authors' code to a checkpoint with golden files.

    Args:
        source: pickled state dict, which is read without running code in it.
        name: published setting, a key of :data:`PUBLISHED_SETTINGS`, and name of the checkpoint.
        output: folder to write; by default one of that name among the models of the user.
        overwrite: write into the folder even if it is not empty.

    Raises:
        UsageError: there is no such setting.
        ModelError: the file cannot be read, or is no state dict of this setting.
        OutputExistsError: the folder is not empty.
    """
    config = PUBLISHED_SETTINGS.get(name)
    if config is None:
        raise UsageError(
            f"no published setting '{name}'", hint=f"settings: {', '.join(PUBLISHED_SETTINGS)}"
        )
    folder = output or user_folder() / name
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"{folder} exists already", hint="add -y to overwrite")
    try:
        data = source.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror}") from error
    net = IICNet(config)
    net.load_state_dict(convert_state_dict(_read_state_dict(source, data), config))
    checkpoint = write_checkpoint(
        folder,
        net,
        name=name,
        task=published_task(name),
        half_precision=False,
        noise_shaping=fit_task_noise_shaping(net, published_task(name)),
        provenance=Provenance(
            licence="MIT (authors' code)",
            origin=f"{source.name} (sha256 {hashlib.sha256(data).hexdigest()}) of the authors' "
            "code, https://github.com/felixcheng97/IICNet",
        ),
    )
    write_golden(checkpoint)
    (folder / CARD_FILE).write_text(
        f"# {name}\n\nThe authors' weights for the published setting {name}, imported with `iicnet "
        f"models import`.\n\n- Origin: {checkpoint.config.origin}\n- Licence: "
        f"{checkpoint.config.licence}\n",
        encoding="utf-8",
    )
    return checkpoint


def _read_state_dict(source: Path, data: bytes) -> dict[str, Tensor]:
    hint = "give a .pth file of the authors' code"
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # other files can make the reader raise anything
        raise ModelError(
            f"{source} cannot be read as weights: it is damaged or holds more than tensors",
            hint=hint,
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ModelError(f"{source} holds no state dict", hint=hint)
    return state
