"""A still in some hundred bytes: a thumbnail that shows as much as they can.

At so few bytes the container of AVIF weighs, so WebP is tried as well; and the size of the picture
is chosen with its quality.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, features

from iicnet_cli.errors import DamagedError, MediaError
from iicnet_cli.media.quality_search import best_quality
from iicnet_cli.media.stills import fit_within, read_still, resize, scale_to
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

_LEAST_BYTES = 100
"""Fewer bytes show nothing that helps."""
_SIDES = (24, 32, 48, 64, 96, 128, 192, 256, 384)
"""Pixels of the longer side that are tried."""
_LARGEST_SIDE = 1024
"""Larger pictures are not read."""
_COMPARED_SIDE = 256
"""Qualities are compared on pictures whose longer side has so many pixels, at most."""
_QUALITIES = 96
"""Qualities of the codecs that are used: 0 to one less than this."""
_MAGICS = {".webp": (8, b"WEBP"), ".avif": (4, b"ftypavif")}
"""What the files of each suffix have at which byte."""


def encode_tiny(pixels: Pixels, max_size: int) -> bytes | None:
    """The best small picture of one (H, W, 3); ``None`` if none has at most ``max_size`` bytes."""
    if max_size < _LEAST_BYTES:
        return None
    wanted = fit_within(pixels, _COMPARED_SIDE)
    height, width = wanted.shape[:2]
    found: list[tuple[float, bytes]] = []
    sides = [side for side in _SIDES if side < max(pixels.shape)] or [max(pixels.shape[:2])]
    for side in sides:
        smaller = scale_to(pixels, side)
        for kind in ("WEBP", "AVIF"):
            data = _largest(smaller, kind, max_size)
            if data is not None:
                shown = resize(_decoded(data), width, height)
                found.append((psnr(shown, wanted), data))
    return max(found)[1] if found else None


def decode_tiny(data: bytes) -> Pixels:
    """The picture (h, w, 3) of :func:`encode_tiny`, safe with untrusted bytes.

    Raises:
        DamagedError: it is none.
    """
    try:
        tiny_suffix(data)
        with Image.open(io.BytesIO(data)) as image:
            if max(image.size) > _LARGEST_SIDE:
                raise ValueError("it is not small")
        return read_still(io.BytesIO(data)).pixels
    except (MediaError, ValueError, OSError) as error:
        raise DamagedError(f"the small version cannot be read: {error}") from error


def tiny_suffix(data: bytes) -> str:
    """The suffix of the name of a file of :func:`encode_tiny`.

    Raises:
        ValueError: it is none.
    """
    for suffix, (start, magic) in _MAGICS.items():
        if data.startswith(magic, start):
            return suffix
    raise ValueError("it is neither WebP nor AVIF")


def _largest(pixels: Pixels, kind: str, max_size: int) -> bytes | None:
    """The file of the highest quality that fits."""
    if kind == "AVIF" and not features.check("avif"):
        return None

    @cache
    def file(quality: int) -> bytes:
        return _save(pixels, kind, quality)

    guess = _QUALITIES // 3
    quality = best_quality(lambda q: len(file(q)), max_size, _QUALITIES, guess)
    return file(quality) if quality >= 0 else None


def _save(pixels: Pixels, kind: str, quality: int) -> bytes:
    options = {"method": 6} if kind == "WEBP" else {"speed": 3, "subsampling": "4:2:0"}
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(target, kind, quality=quality, **options)
    return target.getvalue()


def _decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
