"""Colour in a grey picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.pictures.metrics import psnr
from tests.helpers import Run, done, pixels, save, strip
from tests.samples import natural


@pytest.mark.parametrize("size", [(48, 66), (17, 16), (33, 47)])
def test_grayscale(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    photo = natural(*size, 7)
    source = save(tmp_path / "photo.png", photo)
    out = tmp_path / "grey.png"
    report = json.loads(
        done(run("embed", source, "--task", "grayscale", "-o", out, "--json")).stdout
    )
    with Image.open(out) as image:
        assert image.mode == "L"
        grey = np.asarray(image)[: size[0], : size[1]]
    luma = np.asarray(Image.fromarray(photo).convert("L"))
    assert psnr(grey, luma) == pytest.approx(report["embed_psnr"], abs=0.3)
    done(run("restore", out))
    restored = pixels(tmp_path / "grey-restored.png")
    assert psnr(restored, photo) == pytest.approx(report["restored_psnr"])
    strip(out)
    done(run("restore", out, "-o", tmp_path / "again.png"))
    assert np.array_equal(pixels(tmp_path / "again.png"), restored)
