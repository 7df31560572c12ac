"""Quantization steps of JPEG, as libjpeg derives them from a quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LUMA_AT_50 = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""The example table of ITU-T T.81, table K.1, vertical frequency first."""


def luma_steps(quality: int) -> NDArray[np.int64]:
    """(8, 8) steps of luma for a quality from 1 to 100: ``jpeg_quality_scaling`` of libjpeg."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps: NDArray[np.int64] = np.clip((_LUMA_AT_50 * percent + 50) // 100, 1, 255)
    return steps
