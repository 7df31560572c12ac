"""The enhancement layer: what the network restores wrong, as far as a few low bits can tell it.

As in scalable video coding there are two layers. The base layer is what the network restores from
the picture alone. The enhancement layer is its difference from what went into the network, coded as
AVIF in the best quality that fits into some bytes; these travel in the low bits of the PNG beside
the mark. Where the PNG was altered they are lost, and the base layer is what comes back.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from iicnet_cli.container import Mark, Pixels, mark_room, write_mark
from iicnet_cli.metrics import Levels, mse

_SAMPLES_PER_BYTE = 32
"""Of a PNG, for its enhancement layer: more bytes would disturb the base layer too much."""
_SAMPLES_PER_BYTE_OF_GOOD = 64
"""Likewise, where the base layer is good and easily disturbed."""
GOOD = 3.5
"""Mean squared error of such a base layer, in levels; less."""
LARGEST = 1 << 28
"""Bytes of the pictures that have a layer, at most: what is restored for it is kept beside them."""
_SMALLEST = 512
"""Bytes below which there is no layer: an AVIF without a picture takes 300."""
_PIXELS = 1 << 22
"""Of one AVIF, at most."""
_SIDE = 16384
"""Likewise, rows; and columns of pictures that have a layer (AVIF readers stop at 32768)."""
_TRIED = 4
"""AVIFs from which the quality of all is told, where there are more."""
_MIDDLE = 128
"""Level that stands for no difference."""
_BEST = 100

Part = tuple[slice, slice]
"""Pictures and rows of (K, H, W, C)."""


def missing() -> str | None:
    """What an enhancement layer needs and is not here, in words; Pillow's wheels have it."""
    return None if features.check("avif") else "Pillow has no AVIF here"


def obstacle(pictures: Levels) -> str | None:
    """Why these pictures get no enhancement layer, in words; ``None`` if they may."""
    too_large = "the pictures are too large for one" if pictures.nbytes > LARGEST else None
    return missing() or too_large


def enhanced(
    mark: Mark,
    wanted: Levels,
    embedding: Pixels,
    rounded_down: NDArray[np.bool_],
    restore: Callable[[Pixels], Levels],
) -> Mark:
    """The mark of an embedding with its enhancement layer, if that makes it better.

    Args:
        mark: without one.
        wanted: (K, H, W, C), the pictures as the network got them, before padding.
        embedding: (H_e, W_e, C_e), not yet marked.
        rounded_down: as of :func:`write_mark`.
        restore: what the network makes of such an embedding, in the shape of ``wanted``.
    """
    base = restore(embedding)
    base_error = _error(wanted, base)
    good = base_error < GOOD
    size = embedding.size // (_SAMPLES_PER_BYTE_OF_GOOD if good else _SAMPLES_PER_BYTE)
    size = min(size, mark_room(embedding.size) - len(mark.motion))
    layered = replace(mark, enhancement=encoded(wanted, base, size))
    if good and layered.enhancement:
        # The bits of the layer may disturb the base layer more than it mends.
        del base
        better = restore(write_mark(embedding, layered, rounded_down))
        add(layered.enhancement, better)
        return layered if _error(wanted, better) < base_error else mark
    return layered


def _error(wanted: Levels, restored: Levels) -> float:
    return float(np.mean([mse(a, b) for a, b in zip(wanted, restored, strict=True)]))


def encoded(wanted: Levels, restored: Levels, size: int) -> bytes:
    """What is to be added to restored levels to come near to those that were wanted.

    Args:
        wanted: (K, H, W, C), what went into the network, from -255 to 510.
        restored: likewise, what came out.
        size: bytes, at most.

    Returns:
        For each part of the pictures the length of an AVIF, 32 bits, big-endian, and the AVIF, see
        :func:`add`; empty where nothing fits, and for pictures that are not in colour.
    """
    if size < _SMALLEST or wanted.shape[3] != 3 or wanted.shape[2] > _SIDE:
        return b""
    parts = _parts(wanted.shape)
    tried = parts[:: -(-len(parts) // _TRIED)]
    share = size * sum(wanted[part].size for part in tried) / wanted.size

    def at(quality: int, parts: Sequence[Part]) -> bytes:
        pictures = (_avif(wanted[part], restored[part], quality) for part in parts)
        return b"".join(len(data).to_bytes(4, "big") + data for data in pictures)

    quality = bisect_right(range(_BEST + 1), share, key=lambda q: len(at(q, tried))) - 1
    while quality >= 0:
        data = at(quality, parts)
        if len(data) <= size:
            return data
        quality -= 1
    return b""


def add(data: bytes, restored: Levels) -> None:
    """Add an enhancement layer to what was restored, in place.

    Args:
        data: as :func:`encoded` gave it; it may come from anyone. From where it does not hold what
            it should, nothing is added.
        restored: (K, H, W, C), the same levels as there; uint8 stays within 0 to 255.
    """
    for part in _parts(restored.shape):
        length, data = int.from_bytes(data[:4], "big"), data[4:]
        levels = restored[part]
        difference = _difference(data[:length], levels.shape)
        if difference is None:
            return
        data = data[length:]
        difference += levels
        if restored.dtype == np.uint8:
            difference.clip(0, 255, out=difference)
        restored[part] = difference


def _parts(shape: tuple[int, ...]) -> list[Part]:
    """All of small pictures together; of large ones so many rows of each."""
    count, height, width, _ = shape
    if count * height * width <= _PIXELS and count * height <= _SIDE:
        return [(slice(count), slice(height))]
    rows = max(1, min(_SIDE, _PIXELS // width))
    return [
        (slice(k, k + 1), slice(top, min(top + rows, height)))
        for k in range(count)
        for top in range(0, height, rows)
    ]


def _avif(wanted: Levels, restored: Levels, quality: int) -> bytes:
    """The difference, pictures below each other."""
    difference = wanted.astype(np.int16) - restored + _MIDDLE
    pixels = difference.clip(0, 255).astype(np.uint8).reshape(-1, *wanted.shape[2:])
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file,
        "AVIF",
        codec="aom",
        quality=quality,
        speed=8,
        subsampling="4:4:4",
        # Not how it looks, for nobody looks at it; half a decibel more.
        advanced={"tune": "psnr"},
    )
    return file.getvalue()


def _difference(data: bytes, shape: tuple[int, ...]) -> NDArray[np.int16] | None:
    """(K, H, W, C) of an AVIF; ``None`` if it is none of that size."""
    count, height, width, _ = shape
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            if image.size != (width, count * height):
                return None
            pixels = np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, OSError, RuntimeError, SyntaxError, ValueError):
        return None
    return pixels.reshape(shape).astype(np.int16) - _MIDDLE
