"""The places where checkpoints are looked for, and their order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from iicnet_cli.errors import ModelError
from iicnet_cli.zoo.checkpoint import CONFIG_FILE, Checkpoint, read_config

MODELS_VARIABLE = "IICNET_MODELS"
"""This environment variable names the folder of the models of the user."""


def bundled_folder() -> Path:
    """Return the folder of the bundled checkpoints: package data, or ``models/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_folder() -> Path:
    """Return the folder to which ``models import`` writes.

    It is ``$IICNET_MODELS``, or else a folder in the data folder of the user.
    """
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
    """Yield all checkpoints: those of the user, then the bundled ones, each sorted by path.

    Args:
        unreadable: collects the errors of checkpoints that are skipped because they are not valid.
    """
    for base in (user_folder(), bundled_folder()):
        yield from _checkpoints_in(base, [] if unreadable is None else unreadable)


def _checkpoints_in(base: Path, unreadable: list[ModelError]) -> Iterator[Checkpoint]:
    for config in sorted(base.rglob(CONFIG_FILE)):
        try:
            checkpoint = read_config(config.parent)
        except ModelError as error:
            unreadable.append(error)
            continue
        yield checkpoint


def find(name: str) -> Checkpoint:
    """Find a checkpoint.

    Args:
        name: name of a checkpoint, of which the highest version is taken, first of the user's own,
            then of the bundled ones; or its folder, or
            ``hf://owner/repository[/folder]@revision`` on a hub.

    Raises:
        ModelError: there is no such checkpoint.
    """
    if name.startswith("hf://"):
        from iicnet_cli.zoo.hub import download

        return read_config(download(name))
    unreadable: list[ModelError] = []
    for base in (user_folder(), bundled_folder()):
        named = [c for c in _checkpoints_in(base, unreadable) if c.name == name]
        if named:
            return max(named, key=lambda checkpoint: checkpoint.config.version)
    folder = Path(name)
    if (folder / CONFIG_FILE).is_file():
        return read_config(folder)
    known = ", ".join(dict.fromkeys(c.name for c in available())) or "none"
    skipped = "".join(f"; {error}" for error in unreadable)
    raise ModelError(
        f"no model '{name}'", hint=f"available: {known}; or give a model folder{skipped}"
    )


def find_by_weights(name: str, weights_sha256: str) -> Checkpoint:
    """Find the checkpoint with exactly these weights, whatever its name is now.

    Args:
        name: its name when the file was made, for the error message.
        weights_sha256: hash of its weights file.

    Raises:
        ModelError: it is not here. The message says if there are other weights of that name.
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
