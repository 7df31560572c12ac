"""How large a picture and how long a clip may be, whatever files claim."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PIXELS_VARIABLE = "IICNET_MAX_PIXELS"
"""This environment variable sets `max_pixels`, also for worker processes."""
DEFAULT_MAX_PIXELS = 500_000_000
LARGEST_MAX_PIXELS = 2**40

MAX_LOSSY_SIDE = 1 << 15
"""Pixels of a JPEG or WebP that holds something, on each axis."""
MAX_LOSSY_PIXELS = 64_000_000
"""Pixels of all of it; to look for a mark takes some 30 bytes for each."""
MOST_JPEG_PIXELS_PER_BYTE = 8 * 64
"""A block of 8x8 pixels of a JPEG takes a bit at least, unless it is coded arithmetically."""

MAX_SECONDS = 1e9
"""No time in a clip is farther from zero than this, thirty years."""
MAX_FPS = 1_000_000
"""No clip has more frames a second, or fewer frames in so many seconds, than this."""

_MAX_TEXT_BYTES = 64 << 20
"""Text and profiles in a PNG may be this long together; pixels do not depend on them."""

_LOCK = threading.RLock()


def max_pixels() -> int:
    """Number of pixels that the pictures of one file may have together.

    They are refused before they are decoded, or before memory is taken for what is restored.
    """
    try:
        wanted = int(os.environ.get(MAX_PIXELS_VARIABLE, ""))
    except ValueError:
        return DEFAULT_MAX_PIXELS
    return min(max(1, wanted), LARGEST_MAX_PIXELS)


def max_pixels_text() -> str:
    """The limit in words."""
    return f"{max_pixels() / 1e6:g} megapixels"


@contextmanager
def without_pillow_limits() -> Iterator[None]:
    """Lift Pillow's global limits on pixels, and on text in PNGs; `max_pixels` applies instead."""
    from PIL import Image, PngImagePlugin

    with _LOCK, warnings.catch_warnings():
        before = (
            Image.MAX_IMAGE_PIXELS,
            PngImagePlugin.MAX_TEXT_CHUNK,
            PngImagePlugin.MAX_TEXT_MEMORY,
        )
        Image.MAX_IMAGE_PIXELS = None
        PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = _MAX_TEXT_BYTES
        try:
            yield
        finally:
            (
                Image.MAX_IMAGE_PIXELS,
                PngImagePlugin.MAX_TEXT_CHUNK,
                PngImagePlugin.MAX_TEXT_MEMORY,
            ) = before
