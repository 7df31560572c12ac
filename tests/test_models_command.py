"""``iicnet models``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iicnet_cli.errors import ExitCode
from tests.helpers import Run

BUNDLED = [
    "dual", "grayscale", "layers-2", "layers-3", "rescale", "stego-2", "stego-3", "stego-4",
    "stego-5", "stereo", "video-3-half", "video-5", "video-5-half", "video-7", "video-9",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_models_list_path_verify(run: Run) -> None:
    listed = [json.loads(line) for line in run("models", "list", "--json").stdout.splitlines()]
    names = [model["name"] for model in listed]
    assert names == BUNDLED
    for model in listed:
        assert model["bytes"] < 2e6
        folder = Path(run("models", "path", model["name"]).stdout.strip())
        assert {p.name for p in folder.iterdir()} == {
            "README.md",
            "config.json",
            "golden",
            "model.safetensors",
            "recipe.toml",
        }
    result = run("models", "verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(" ok ") == len(BUNDLED)
    assert run("models", "path", "nope").exit_code == ExitCode.NO_MODEL
