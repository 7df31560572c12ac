"""A photo in its half-sized copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from iicnet_cli.pictures.metrics import psnr
from tests.helpers import Run, done, pixels, save, strip
from tests.samples import natural


@pytest.mark.parametrize("size", [(48, 66), (17, 16), (33, 47)])
def test_rescale(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    photo = natural(*size, 8)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "small.png"
    report = json.loads(done(run("embed", source, "--task", "rescale", "-o", out, "--json")).stdout)
    assert pixels(out).shape == (-(-size[0] // 2), -(-size[1] // 2), 3)
    assert report["embed_psnr"] > 25
    done(run("restore", out))
    restored = pixels(tmp_path / "small-restored.png")
    assert restored.shape == photo.shape
    assert psnr(restored, photo) == pytest.approx(report["restored_psnr"])
    strip(out)
    done(run("restore", out, "-o", tmp_path / "again.png"))
    assert np.array_equal(pixels(tmp_path / "again.png"), restored)
