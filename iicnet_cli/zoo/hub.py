"""Checkpoints on the Hugging Face Hub, by file name and pinned revision."""

from __future__ import annotations

import re
from pathlib import Path

from iicnet_cli.errors import ModelError
from iicnet_cli.zoo.checkpoint import CONFIG_FILE, WEIGHTS_FILE

_REFERENCE = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<folder>[\w./-]+))?@(?P<revision>[\w./-]+)"
)


def download(reference: str) -> Path:
    """Fetch a checkpoint into the cache of the hub, or take it from there.

    Args:
        reference: ``hf://owner/repository[/folder]@revision``. The revision, preferably a commit,
            is required, so that the same command gives the same weights in later years.

    Returns:
        The folder with ``config.json`` and ``model.safetensors``.

    Raises:
        ModelError: the reference is malformed, the hub refuses it, or the hub cannot be reached
            and the checkpoint is not in the cache.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match or ".." in reference:
        raise ModelError(
            f"'{reference}' is not a hub reference",
            hint="write hf://owner/repository/folder@revision",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        paths = [
            hf_hub_download(
                match["repo"], name, subfolder=match["folder"], revision=match["revision"]
            )
            for name in (CONFIG_FILE, WEIGHTS_FILE)
        ]
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{reference} is not cached and the hub cannot be reached",
            hint="connect once, or copy the model folder here and give its path",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"cannot get {reference}: {str(error).splitlines()[0]}") from error
    return Path(paths[0]).parent
