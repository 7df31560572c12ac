"""Layers under their composite."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks.layers import estimate_alpha
from tests.helpers import Run, done, pixels, save
from tests.samples import Pixels, natural


@pytest.fixture
def cutout() -> Pixels:
    """A soft disc of a photo, (48, 66, 4)."""
    y, x = np.mgrid[0:48, 0:66]
    alpha = np.clip((18 - np.hypot(y - 24, x - 30)) / 3, 0, 1)
    return np.dstack([natural(48, 66, 5), np.rint(255 * alpha).astype(np.uint8)])


def test_foreground_and_background_make_the_composite(
    run: Run, cutout: Pixels, tmp_path: Path
) -> None:
    front = save(tmp_path / "front.png", cutout)
    below = natural(48, 66, 6)
    back = save(tmp_path / "back.png", below)
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", front, back, "--task", "layers", "-o", out, "--json")).stdout
    )
    assert report["model"] == "layers-3"
    alpha = cutout[..., 3:] / 255
    composed = np.rint(alpha * cutout[..., :3] + (1 - alpha) * below)
    assert psnr(pixels(out), composed.astype(np.uint8)) == pytest.approx(
        report["embed_psnr"], abs=0.2
    )
    done(run("restore", out))
    folder = tmp_path / "out-restored"
    assert sorted(p.name for p in folder.iterdir()) == ["back.png", "composite.png", "front.png"]
    done(run("restore", out, "-o", tmp_path / "layers.ora"))
    with zipfile.ZipFile(tmp_path / "layers.ora") as ora:
        assert ora.read("mimetype") == b"image/openraster"


def test_alpha_is_estimated_from_the_three_pictures(cutout: Pixels) -> None:
    below = natural(48, 66, 6)
    alpha = cutout[..., 3:] / 255
    for on in ((255, 255, 255), (0, 0, 0), (200, 30, 90)):
        composed, front = (
            np.rint(alpha * cutout[..., :3] + (1 - alpha) * under).astype(np.uint8)
            for under in (below, np.array(on))
        )
        estimate = estimate_alpha(composed, below, front, on=on)
        assert np.abs(estimate[..., 3].astype(int) - cutout[..., 3]).mean() < 2
        again = estimate[..., 3:] / 255 * estimate[..., :3] + (1 - estimate[..., 3:] / 255) * below
        assert psnr(np.rint(again).astype(np.uint8), composed) > 40


def test_composite_and_background(run: Run, tmp_path: Path) -> None:
    composed = save(tmp_path / "poster.png", natural(40, 40, 1))
    back = save(tmp_path / "paper.png", natural(40, 40, 2))
    out = tmp_path / "out.png"
    report = json.loads(
        done(run("embed", composed, back, "--task", "layers", "-o", out, "--json")).stdout
    )
    assert (report["model"], report["images"]) == ("layers-2", 2)
    done(run("restore", out))
    assert {p.name for p in (tmp_path / "out-restored").iterdir()} == {"poster.png", "paper.png"}


def test_openraster_is_layers(run: Run, cutout: Pixels, tmp_path: Path) -> None:
    front = save(tmp_path / "front.png", cutout)
    back = save(tmp_path / "back.png", natural(48, 66, 6))
    done(run("embed", front, back, "--task", "layers", "-o", tmp_path / "a.png"))
    done(run("restore", tmp_path / "a.png", "-o", tmp_path / "a.ora"))
    result = done(run("embed", tmp_path / "a.ora", "-o", tmp_path / "b.png"))
    assert "task: layers" in result.stderr
    done(run("restore", tmp_path / "b.png"))
    assert sorted(p.name for p in (tmp_path / "b-restored").iterdir()) == [
        "background.png",
        "composite.png",
        "foreground.png",
    ]
