"""Checkpoints of the authors' code to checkpoints of ours."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import Tensor

from iicnet_cli.errors import ModelError, OutputExistsError, UsageError
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.official import PUBLISHED, convert_state_dict, published_task
from iicnet_cli.zoo.checkpoint import CARD_FILE, Checkpoint, write_checkpoint
from iicnet_cli.zoo.golden import golden_noise_shaping, write_golden
from iicnet_cli.zoo.registry import user_folder


def import_official(source: Path, name: str, output: Path | None, *, overwrite: bool) -> Checkpoint:
    """Read a ``.pth`` of the authors' code and write it as a checkpoint with golden files.

    Args:
        source: pickled state dict; it is read without running anything in it.
        name: published setting, a key of :data:`PUBLISHED`; it becomes the checkpoint's name.
        output: folder; by default, one of that name among the user's models.
        overwrite: write into a folder that holds something already.

    Raises:
        UsageError: no such setting.
        ModelError: the file cannot be read, is no state dict, or is one of another setting.
        OutputExistsError: the folder is not empty.
    """
    config = PUBLISHED.get(name)
    if config is None:
        raise UsageError(f"no published setting '{name}'", hint=f"settings: {', '.join(PUBLISHED)}")
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
        half=False,
        licence="MIT (authors' code)",
        origin=f"{source.name} (sha256 {hashlib.sha256(data).hexdigest()}) of the authors' code, "
        "https://github.com/felixcheng97/IICNet",
        feedback=golden_noise_shaping(net, published_task(name)),
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
    except Exception as error:  # a file that is no checkpoint can make the reader raise anything
        raise ModelError(
            f"{source} cannot be read as weights: it is damaged or holds more than tensors",
            hint=hint,
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ModelError(f"{source} holds no state dict", hint=hint)
    return state
