"""Coding of the difference between original and restored pictures as AVIF.

A difference of zero is sample value 128; all others are multiplied by a gain before they are
rounded, because the codec's own rounding, above all of chroma, costs small differences most.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, features

from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels, to_fixed_point

MAX_QUALITY = 100
"""The best quality of the codec; 0 is the worst."""
QUICK_SPEED, USUAL_SPEED, SLOW_SPEED = 9, 6, 4
"""Encoder speeds: for finding the quality; for what is kept, a fifth to half a decibel better and
eight times as slow; and for callers who have time, another seventh of a decibel."""
SIZE_AT_SPEED = {USUAL_SPEED: 1.03, SLOW_SPEED: 0.97}
"""A file coded at this speed is about this many times as large as one coded quickly."""
MAX_LEVEL = 63
"""The codec has this many steps between its worst and its best quality. Those of Pillow's scale
from 0 to 100 that lie between two of them change nothing."""
GAIN_OF_LEVEL = 1.05
"""A gain that is smaller by this factor has about the effect of the next lower level."""
ZERO_VALUE = 128
"""The sample value that stands for no difference."""

_AOM_OPTIONS = {
    "tune": "psnr",  # nobody looks at the differences themselves; this gains half a decibel
    # Differences are much like noise: other sizes of blocks take a fifth of the time and gain
    # 0.02 dB at most.
    "min-partition-size": "8",
    "max-partition-size": "16",
    # These ways to predict noise take another fifth of the time, and gain as little.
    "enable-cfl-intra": "0",
    "enable-paeth-intra": "0",
    "enable-smooth-intra": "0",
}


def codec_unavailable_reason() -> str | None:
    """Why there is no AVIF codec here, in words; ``None`` if there is one."""
    return None if features.check("avif") else "Pillow has no AVIF here"


def missing_difference(wanted: PixelArray, restored: FixedPoint) -> FixedPoint:
    """What restored pictures lack, in fixed point."""
    return to_fixed_point(wanted) - restored


def quality_of_level(level: int) -> int:
    """The quality, 0 to 100, of a level of the codec, 0 to :data:`MAX_LEVEL`."""
    return round(MAX_QUALITY * level / MAX_LEVEL)


def encode_difference(
    wanted: PixelArray, restored: FixedPoint, gain: float, quality: int, speed: int
) -> bytes:
    """Code what restored pictures lack as one AVIF, the pictures below each other.

    Args:
        wanted: (K, H, W, 3), -255..510.
        restored: (K, H, W, 3) in fixed point.
        gain: differences are multiplied by this.
        quality: 0 to :data:`MAX_QUALITY`.
        speed: one of the encoder speeds.
    """
    scaled = missing_difference(wanted, restored).astype(np.float32)
    scaled *= gain / FRACTION
    scaled += ZERO_VALUE
    pixels = np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)
    del scaled
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(-1, *wanted.shape[2:])).save(
        file,
        "AVIF",
        codec="aom",
        quality=quality,
        speed=speed,
        subsampling="4:4:4",
        advanced=_AOM_OPTIONS,
    )
    return file.getvalue()


def decode_difference(data: bytes, shape: tuple[int, ...]) -> Pixels | None:
    """The sample values (K, H, W, 3) of an AVIF; ``None`` if it is not one of that size.

    Args:
        data: may come from anyone.
        shape: that is expected.
    """
    count, height, width, _ = shape
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            if image.size != (width, count * height):
                return None
            return np.asarray(image.convert("RGB")).reshape(shape)
    except (Image.DecompressionBombError, OSError, RuntimeError, SyntaxError, ValueError):
        return None


def difference_table(divisor: float) -> FixedPoint:
    """The difference, in fixed point, that each of the 256 sample values of an AVIF stands for."""
    table: FixedPoint = np.rint((np.arange(256) - ZERO_VALUE) * (FRACTION / divisor)).astype(
        np.int16
    )
    return table
