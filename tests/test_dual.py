"""Dual views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.tasks.dual import dual_views
from tests.helpers import Run, alike, done, pixels, save
from tests.samples import natural


def test_dual_view_of_one_photo(run: Run, tmp_path: Path) -> None:
    photo = natural(130, 201, 3)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "out.png"
    report = json.loads(done(run("embed", source, "--zoom", "4", "-o", out, "--json")).stdout)
    assert (report["task"], report["width"], report["height"]) == ("dual", 50, 32)
    done(run("restore", out))
    normal, zoomed = dual_views(photo, 4)
    folder = tmp_path / "out-restored"
    assert alike(pixels(folder / "photo-normal.png"), normal)
    assert pixels(folder / "photo-zoom4.png").shape == zoomed.shape
    assert psnr(pixels(out)[:32, :50], normal) == pytest.approx(report["embed_psnr"])


def test_dual_views_of_two_sizes(run: Run, tmp_path: Path) -> None:
    normal = save(tmp_path / "wide.png", natural(40, 60, 1))
    zoomed = save(tmp_path / "tele.jpg", natural(51, 77, 2))
    out = tmp_path / "out.png"
    result = done(run("embed", normal, zoomed, "--task", "dual", "-o", out))
    assert "77x51 is fitted to wide.png's 60x40" in result.stderr
    done(run("restore", out))
    assert pixels(tmp_path / "out-restored" / "tele.png").shape == (51, 77, 3)
