"""One small file for each job that is complete, so that an interrupted command can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iicnet_cli.media.files import replacing

MARKER_FOLDER = ".iicnet-done"
"""Markers of outputs lie in this folder beside them."""
MAX_MARKER_BYTES = 1 << 20
"""A longer file is no marker."""


def marker_beside(output: Path) -> Path:
    """The marker of an output."""
    return output.parent / MARKER_FOLDER / f"{output.name}.json"


def write_marker(marker: Path, fingerprint: str, record: Mapping[str, Any]) -> None:
    """Note that the job with this fingerprint is complete, and what was reported of it."""
    marker.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"job": fingerprint, "record": record}, default=str)
    with replacing(marker, overwrite=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_marker(marker: Path, fingerprint: str) -> dict[str, Any] | None:
    """The record of a job, or ``None`` if there is no marker of just this job."""
    try:
        with marker.open("rb") as file:
            found = json.loads(file.read(MAX_MARKER_BYTES))
        if found["job"] == fingerprint and isinstance(found["record"], dict):
            return dict(found["record"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None
