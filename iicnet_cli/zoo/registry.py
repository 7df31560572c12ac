"""Where checkpoints are looked for, and in which order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from iicnet_cli.errors import ModelError
from iicnet_cli.zoo.checkpoint import CONFIG_FILE, Checkpoint, read_config

MODELS_VARIABLE = "IICNET_MODELS"


def bundled_folder() -> Path:
    """The checkpoints that come with iicnet: package data, or ``models/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_folder() -> Path:
    """Where ``models import`` writes: ``$IICNET_MODELS``, or the user's data folder."""
    override = os.environ.get(MODELS_VARIABLE)
    if override:
        return Path(override)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "iicnet" / "models"


def available(unreadable: list[ModelError] | None = None) -> Iterator[Checkpoint]:
    """All checkpoints of the user and bundled folders, the user's first, sorted by name.

    Args:
        unreadable: gets the errors of those that are left out because they cannot be read.
    """
    for base in (user_folder(), bundled_folder()):
        if base.is_dir():
            for config in sorted(base.rglob(CONFIG_FILE)):
                try:
                    checkpoint = read_config(config.parent)
                except ModelError as error:
                    if unreadable is not None:
                        unreadable.append(error)
                    continue
                yield checkpoint


def find(name: str) -> Checkpoint:
    """A checkpoint by name, by folder, or on a hub (``hf://owner/repository[/folder]@revision``).

    Raises:
        ModelError: there is none.
    """
    if name.startswith("hf://"):
        from iicnet_cli.zoo.hub import download

        return read_config(download(name))
    unreadable: list[ModelError] = []
    for checkpoint in available(unreadable):
        if checkpoint.name == name:
            return checkpoint
    folder = Path(name)
    if (folder / CONFIG_FILE).is_file():
        return read_config(folder)
    known = ", ".join(dict.fromkeys(c.name for c in available())) or "none"
    left_out = "".join(f"; {error}" for error in unreadable)
    raise ModelError(
        f"no model '{name}'", hint=f"available: {known}; or give a model folder{left_out}"
    )


def find_by_weights(name: str, weights_sha256: str) -> Checkpoint:
    """The checkpoint with exactly these weights, whatever it is called now.

    Raises:
        ModelError: it is not here, with the other weights of that name told apart.
    """
    namesake = False
    for checkpoint in available():
        if checkpoint.config.weights_sha256 == weights_sha256:
            return checkpoint
        namesake = namesake or checkpoint.name == name
    if namesake:
        raise ModelError(
            f"the file was made with other weights of '{name}' ({weights_sha256[:12]})",
            hint="if you trained them, name their folder with --model; else install the iicnet "
            "version that made the file",
        )
    raise ModelError(
        f"the file was made with the model '{name}', which is not here",
        hint="copy its folder here and name it with --model FOLDER",
    )
