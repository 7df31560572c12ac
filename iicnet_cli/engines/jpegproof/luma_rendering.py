"""8-bit RGB pixels whose luma has given DCT coefficients.

A wanted change of luma is spread over red, green and blue in proportion to their shares in luma,
which of all ways to make it changes the pixels least: 1.27 dB less than equal changes. That the
chroma changes slightly does not matter, for nothing is read from it. What rounding and clipping
spoil is corrected in further passes.
"""

from __future__ import annotations

import numpy as np

from iicnet_cli.engines.jpegproof.dct_blocks import (
    BLOCK,
    LUMA_WEIGHTS,
    Floats,
    forward_dct,
    inverse_dct,
    luma_of,
)
from iicnet_cli.pictures.arrays import Pixels

_DIRECTION = LUMA_WEIGHTS / (LUMA_WEIGHTS @ LUMA_WEIGHTS)
"""The smallest change of (R, G, B) that changes luma by 1."""
_PASSES = 4
"""Corrections for rounding and clipping; later ones gain nothing."""


def render(cover: Pixels, wanted: Floats, mask: Floats) -> Pixels:
    """Change a picture as little as possible so that its luma has the wanted coefficients.

    Args:
        cover: (H, W, 3) or (H, W).
        wanted: (rows, columns, 8, 8), for the whole blocks of the cover.
        mask: (8, 8), 1 for the positions that matter and 0 for all others.
    """
    rows, columns = wanted.shape[:2]
    area = np.s_[: rows * BLOCK, : columns * BLOCK]
    pixels = cover.copy()
    exact = cover[area].astype(np.float32)
    for _ in range(_PASSES):
        missing = (wanted - forward_dct(luma_of(pixels[area]))) * mask
        change = inverse_dct(missing)
        exact += change if cover.ndim == 2 else change[..., None] * _DIRECTION
        np.clip(exact, 0, 255, out=exact)
        pixels[area] = np.rint(exact)
    return pixels
