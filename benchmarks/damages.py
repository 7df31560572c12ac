"""What may happen to a PNG on its way: the rows of the table of ``survival.py``."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.arrays import Pixels

_STICKER_COLOUR = (250, 210, 40)
"""Colour (R, G, B) of the square that is pasted over the middle."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """One way to damage a PNG.

    Attributes:
        name: as the table shows it.
        change: makes (H, W, 3) of (H, W, 3).
        cut: pixels that are cropped off each side of the PNG first.
        realign: whoever restores adds rows and columns at the top left, so that the network's grid
            fits again.
        margin: with a square pasted over the middle: only what is at least this many pixels of the
            PNG away from it is measured.
    """

    name: str
    change: Callable[[Pixels], Pixels] = np.copy
    cut: int = 0
    realign: bool = False
    margin: int | None = None

    def apply(self, pixels: Pixels) -> Pixels:
        """The PNG (H, W, 3) as it arrives."""
        height, width = pixels.shape[:2]
        return self.change(pixels[self.cut : height - self.cut, self.cut : width - self.cut])

    def measured(self, height: int, width: int, scale: int) -> NDArray[np.bool_]:
        """(height, width), true for the pixels of the pictures that are left to be measured.

        Args:
            height: of the original pictures.
            width: likewise.
            scale: pixels of a picture to one pixel of the PNG, on each axis.
        """
        cut = scale * self.cut
        mask = np.zeros((height, width), bool)
        mask[cut : height - cut, cut : width - cut] = True
        if self.margin is not None:
            y, x = (
                slice(max(0, scale * (side.start - self.margin)), scale * (side.stop + self.margin))
                for side in _square(height // scale, width // scale)
            )
            mask[y, x] = False
        return mask


def _square(height: int, width: int) -> tuple[slice, slice]:
    """The middle of a picture, a quarter of each side."""
    return slice(height * 3 // 8, height * 5 // 8), slice(width * 3 // 8, width * 5 // 8)


def _change_first_pixel(pixels: Pixels) -> Pixels:
    """Change the samples of the first pixel by 1."""
    out = pixels.copy()
    out[0, 0] ^= 1
    return out


def _paste_square(pixels: Pixels) -> Pixels:
    out = pixels.copy()
    out[_square(*pixels.shape[:2])] = _STICKER_COLOUR
    return out


def _add_noise(sigma: float, pixels: Pixels) -> Pixels:
    """Add Gaussian noise, the same in every call, in 8-bit units; then round and clip."""
    added = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)


def _encode_lossily(kind: str, options: dict[str, Any], pixels: Pixels) -> Pixels:
    """Write a lossy file and read it back."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    with Image.open(file) as image:
        return np.array(image.convert("RGB"), np.uint8)


def _halve_and_enlarge(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    return resize(resize(pixels, width // 2, height // 2), width, height)


DAMAGES = (
    Damage("none"),
    Damage("one pixel changed by 1", _change_first_pixel),
    Damage("cropped by 8 px", cut=8),
    Damage("cropped by 7 px", cut=7),
    Damage("cropped by 7 px, re-aligned", cut=7, realign=True),
    Damage("square pasted over", _paste_square, margin=0),
    Damage("square pasted over, from 16 px off", _paste_square, margin=16),
    *(Damage(f"noise, sigma {sigma:g}", partial(_add_noise, sigma)) for sigma in (0.5, 1, 2)),
    *(
        Damage(
            f"JPEG {quality}, {chroma}",
            partial(_encode_lossily, "JPEG", {"quality": quality, "subsampling": chroma}),
        )
        for chroma, qualities in (("4:4:4", (98, 95, 90, 80)), ("4:2:0", (98, 95, 90, 80, 50)))
        for quality in qualities
    ),
    Damage("WebP 95", partial(_encode_lossily, "WEBP", {"quality": 95})),
    Damage("half size and back", _halve_and_enlarge),
)
"""The rows of the table, in order."""
