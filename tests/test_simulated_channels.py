"""Simulated channels."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof.simulated_channels import Noise, channels_from, hardest_channels
from iicnet_cli.pictures.metrics import psnr
from tests.samples import natural

PICTURE = natural(64, 72, 1)


@pytest.mark.parametrize("quality", [60, 85])
def test_every_channel_changes_the_picture_a_little(quality: int) -> None:
    names = [each.name for each in channels_from(quality)]
    assert len(set(names)) == len(names)
    assert ("WebP 90" in names) == (quality <= 70)
    for each in channels_from(quality):
        arrived = each.apply(PICTURE)
        assert arrived.shape == PICTURE.shape
        assert 20 < psnr(arrived, PICTURE) < 55, each.name


def test_the_hardest_ones() -> None:
    names = [each.name for each in hardest_channels(70)]
    assert names == [
        *("JPEG 70", "JPEG 75", "JPEG 95", "JPEG 85, 70", "JPEG 70, 90", "WebP 90", "noise 1.5")
    ]


def test_noise_is_the_same_each_time() -> None:
    assert np.array_equal(Noise(1.5).apply(PICTURE), Noise(1.5).apply(PICTURE))
