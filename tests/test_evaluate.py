"""``iicnet evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import Run
from tests.samples import moving


def test_evaluate_stego_and_video(run: Run, photos: list[Path], tmp_path: Path) -> None:
    result = run("evaluate", photos[0].parent, "-m", "stego-2", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["name"] for row in report["rows"]] == ["cover", "one", "three", "two"]
    mean = np.mean([row["embed_psnr"] for row in report["rows"]])
    assert report["mean"]["embed_psnr"] == pytest.approx(mean)

    made = run("embed", photos[0], photos[1], "-o", tmp_path / "o.png", "--json")
    assert report["rows"][0]["embed_psnr"] == json.loads(made.stdout)["embed_psnr"]

    folder = tmp_path / "clips" / "walk"
    folder.mkdir(parents=True)
    for i, frame in enumerate(moving(11, 48, 64)):
        Image.fromarray(frame).save(folder / f"{i:03d}.png")
    result = run("evaluate", folder.parent, "-m", "video-5", "-q")
    assert result.exit_code == 0, result.output
    assert "walk" in result.stdout
    assert "mean" in result.stdout
    assert run("evaluate", tmp_path / "none", "-m", "video-5").exit_code == 2
