"""The enhancement layer: what the network restores wrong, as far as a few low bits can tell it.

As in scalable video coding there are two layers. The base layer is what the network restores from
the picture alone. The enhancement layer is its difference from what went into the network, coded as
AVIF in the best quality that fits into some bytes; these travel in the low bits of the PNG beside
the mark. Where the PNG was altered they are lost, and the base layer is what comes back.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from iicnet_cli.container import Mark, Pixels, mark_room, write_mark
from iicnet_cli.metrics import Levels, mse
from iicnet_cli.rounding import Feedback

GOOD = 4.0
"""Mean squared error, in levels, below which a base layer may be disturbed more than mended."""
_SAMPLES_TO_A_BIT = {2.0: 8, GOOD: 4, 8.0: 2, float("inf"): 1}
"""Of a PNG, for its enhancement layer, where the base layer has a lower mean squared error."""
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
_HEAD = struct.Struct(">HB")
"""Which pictures a layer has, and its gain."""
_MIDDLE = 128
"""Level that stands for no difference."""
_GAINS = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""By which differences are multiplied: the codec's own rounding, above all of colours, costs small
ones most."""
_CLIPPED = 0.01
"""Squared levels that a gain may cost on average, where differences become too large for it."""
_SIXTEENTHS = 16
_SIZES = 1024
"""Of differences, that are counted; larger ones do not occur."""
_STRIP = 256
"""Rows of a picture at a time."""
_BEST = 100
_QUICK, _SLOW = 8, 6
"""Speeds of the encoder: to find the quality, and for what is kept, a fifth of a decibel better."""

Part = tuple[list[int], slice]
"""Pictures and rows of (K, H, W, C)."""
Restore = Callable[[Pixels, NDArray[np.int8] | None], Levels]
"""Of an embedding and, if it is to be restored from before its rounding, the remainder."""


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
    remainder: NDArray[np.int8],
    feedback: Feedback | None,
    restore: Restore,
    to_a_bit: int = 1,
) -> Mark:
    """The mark of an embedding with its enhancement layer, if that makes it better.

    Args:
        mark: without one.
        wanted: (K, H, W, C), the pictures as the network got them, before padding.
        embedding: (H_e, W_e, C_e), not yet marked.
        remainder: as of :func:`write_mark`.
        feedback: likewise.
        restore: what the network makes of such an embedding, in the shape of ``wanted``.
        to_a_bit: samples of the embedding to each bit, at least.
    """
    # From the exact values, for the errors of rounding are others once the layer is written.
    base = restore(embedding, remainder)
    base_error = _error(wanted, base)
    usual = next(n for below, n in _SAMPLES_TO_A_BIT.items() if base_error < below)
    to_a_bit = max(to_a_bit, usual)
    room = mark_room(embedding.size, to_a_bit) - len(mark.motion)
    layered = replace(mark, enhancement=encoded(wanted, base, room))
    if base_error < GOOD and layered.enhancement:
        del base
        errors = [
            restored_error(each, wanted, write_mark(embedding, each, remainder, feedback), restore)
            for each in (mark, layered)
        ]
        return layered if errors[1] < errors[0] else mark
    return layered


def restored_error(mark: Mark, wanted: Levels, marked: Pixels, restore: Restore) -> float:
    """Mean squared error of what a marked embedding restores, its layer added; see above."""
    restored = restore(marked, None)
    if mark.enhancement:
        add(mark.enhancement, restored)
    return _error(wanted, restored)


def _error(wanted: Levels, restored: Levels) -> float:
    return float(np.mean([mse(a, b) for a, b in zip(wanted, restored, strict=True)]))


def encoded(wanted: Levels, restored: Levels, size: int) -> bytes:
    """What is to be added to restored levels to come near to those that were wanted.

    Args:
        wanted: (K, H, W, C), what went into the network, from -255 to 510.
        restored: likewise, what came out.
        size: bytes, at most.

    Returns:
        16 bits that say which pictures it has, the lowest for the first, big-endian; a byte with
        the gain in sixteenths; then, for each part of these, the length of an AVIF, 32 bits,
        big-endian, and the AVIF, see :func:`add`. Empty where nothing fits, and for pictures that
        are not in colour.
    """
    if size < _SMALLEST or wanted.shape[3] != 3 or wanted.shape[2] > _SIDE:
        return b""
    held = list(range(len(wanted)))
    while held:
        gain = _gain(wanted, restored, held)
        data = _coded(wanted, restored, held, gain, size - _HEAD.size)
        if not data:
            break
        data = _HEAD.pack(sum(1 << k for k in held), round(gain * _SIXTEENTHS)) + data
        helped = _helped(wanted, restored, data)
        if helped == held:
            return data
        held = helped
    return b""


def _gain(wanted: Levels, restored: Levels, held: list[int]) -> float:
    """The greatest gain for which next to no difference is too large."""
    sizes = np.arange(_SIZES)
    counts = np.zeros(_SIZES)
    for k in held:
        for top in range(0, wanted.shape[1], _STRIP):
            a, b = (x[k, top : top + _STRIP].astype(np.int16) for x in (wanted, restored))
            differences = np.abs(a - b).clip(max=_SIZES - 1)
            counts += np.bincount(differences.reshape(-1), minlength=_SIZES)

    def clipped(gain: float) -> float:
        over = (sizes - (_MIDDLE - 1) / gain).clip(0)
        return float(np.sum(counts * over**2) / counts.sum())

    return next((gain for gain in _GAINS if clipped(gain) < _CLIPPED), _GAINS[-1])


def _coded(wanted: Levels, restored: Levels, held: list[int], gain: float, size: int) -> bytes:
    parts = _parts(held, wanted.shape)
    tried = parts[:: -(-len(parts) // _TRIED)]
    share = size * sum(map(_rows_of, tried)) / sum(map(_rows_of, parts))

    def at(quality: int, parts: Sequence[Part], speed: int) -> bytes:
        pictures = (_avif(wanted[part], restored[part], gain, quality, speed) for part in parts)
        return b"".join(len(data).to_bytes(4, "big") + data for data in pictures)

    quality = bisect_right(range(_BEST + 1), share, key=lambda q: len(at(q, tried, _QUICK))) - 1
    while quality >= 0:
        data = at(quality, parts, _SLOW)
        if len(data) <= size:
            return data
        quality -= 1
    return b""


def _helped(wanted: Levels, restored: Levels, data: bytes) -> list[int]:
    """The pictures that a layer brings nearer.

    What is restored best would only get the errors of the codec.
    """
    gained = dict.fromkeys(range(len(wanted)), 0.0)
    for (pictures, rows), better in _better(data, restored):
        for k, levels in zip(pictures, better, strict=True):
            before, after = (mse(wanted[k, rows], x) for x in (restored[k, rows], levels))
            gained[k] += (before - after) * len(levels)
    return [k for k, gain in gained.items() if gain > 0]


def add(data: bytes, restored: Levels) -> None:
    """Add an enhancement layer to what was restored, in place.

    Args:
        data: as :func:`encoded` gave it; it may come from anyone. From where it does not hold what
            it should, nothing is added.
        restored: (K, H, W, C), the same levels as there; uint8 stays within 0 to 255.
    """
    for part, levels in _better(data, restored):
        restored[part] = levels


def _better(data: bytes, restored: Levels) -> Iterator[tuple[Part, NDArray[np.int16]]]:
    """What each part of a layer makes of restored levels."""
    if len(data) < _HEAD.size:
        return
    mask, gain = _HEAD.unpack_from(data)
    if not gain:
        return
    data = data[_HEAD.size :]
    held = [k for k in range(len(restored)) if mask >> k & 1]
    for part in _parts(held, restored.shape):
        length, data = int.from_bytes(data[:4], "big"), data[4:]
        levels = restored[part]
        difference = _difference(data[:length], levels.shape, gain / _SIXTEENTHS)
        if difference is None:
            return
        data = data[length:]
        difference += levels
        if restored.dtype == np.uint8:
            difference.clip(0, 255, out=difference)
        yield part, difference


def _parts(held: list[int], shape: tuple[int, ...]) -> list[Part]:
    """All of small pictures together; of large ones so many rows of each."""
    height, width = shape[1:3]
    if len(held) * height * width <= _PIXELS and len(held) * height <= _SIDE:
        return [(held, slice(0, height))]
    rows = max(1, min(_SIDE, _PIXELS // width))
    return [
        ([k], slice(top, min(top + rows, height))) for k in held for top in range(0, height, rows)
    ]


def _rows_of(part: Part) -> int:
    pictures, rows = part
    return len(pictures) * int(rows.stop - rows.start)


def _avif(wanted: Levels, restored: Levels, gain: float, quality: int, speed: int) -> bytes:
    """The difference, pictures below each other."""
    scaled = (wanted.astype(np.int16) - restored).astype(np.float32)
    scaled *= gain
    scaled += _MIDDLE
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
        # Not how it looks, for nobody looks at it; half a decibel more.
        advanced={"tune": "psnr"},
    )
    return file.getvalue()


def _difference(data: bytes, shape: tuple[int, ...], gain: float) -> NDArray[np.int16] | None:
    """(K, H, W, C) of an AVIF; ``None`` if it is none of that size."""
    count, height, width, _ = shape
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            if image.size != (width, count * height):
                return None
            pixels = np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, OSError, RuntimeError, SyntaxError, ValueError):
        return None
    differences: NDArray[np.int16] = np.rint((np.arange(256) - _MIDDLE) / gain).astype(np.int16)
    found: NDArray[np.int16] = differences[pixels].reshape(shape)
    return found
