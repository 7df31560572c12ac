"""Traces of JPEG."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof.dct_blocks import forward_dct, luma_of
from iicnet_cli.engines.jpegproof.recompression import estimate_quality
from iicnet_cli.engines.jpegproof.simulated_channels import Noise, jpeg
from tests.samples import natural

PICTURE = natural(128, 160, 1)


@pytest.mark.parametrize("quality", [30, 50, 65, 80])
def test_the_quality_is_estimated(quality: int) -> None:
    found = estimate_quality(forward_dct(luma_of(jpeg(quality).apply(PICTURE))))
    assert found == pytest.approx(quality, abs=2)


def test_no_trace() -> None:
    assert estimate_quality(forward_dct(luma_of(PICTURE))) is None
    assert estimate_quality(forward_dct(luma_of(Noise(4).apply(jpeg(80).apply(PICTURE))))) is None
    assert estimate_quality(np.zeros((0, 3, 8, 8), np.float32)) is None
