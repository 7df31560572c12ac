"""The enhancement layer: what the network restores wrong, as far as a few low bits can tell it.

As in scalable video coding there are two layers. The base layer is what the network restores from
the picture alone. The enhancement layer is its difference from what went into the network, coded as
AVIF in the best quality that fits into some bytes; these travel in the low bits of the PNG beside
the mark (`strips.py`). Where the PNG was altered they are lost, and the base layer is what comes
back.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels, to_fixed_point

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
_USUAL_QUALITY = 70
"""From which the one that fits is looked for."""
_GROWTH = 4.5
"""About the natural logarithm of what the best quality multiplies the bytes of the worst by."""
_LENGTH = 4
"""Bytes that tell how long an AVIF is."""
_HEAD = struct.Struct(">HBB")
"""Which pictures a layer has, how many strips, and the first of these."""
_ROWS = 16
"""Of which strips have a multiple, but the last."""
_MIDDLE = 128
"""Level that stands for no difference."""
_GAINS = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""By which differences are multiplied: the codec's own rounding, above all of colours, costs small
ones most."""
_CLIPPED = 0.01
"""Squared levels that a gain may cost on average, where differences become too large for it."""
_SIXTEENTHS = 16
_DIVISORS = 16, 255
"""In sixteenths, at least and at most; below that a picture gets nothing."""
_SIZES = 1024
"""Of differences, that are counted; larger ones do not occur."""
_STRIP = 256
"""Rows of a picture at a time."""
_BEST = 100
_QUICK, _USUAL, _SLOW = 8, 6, 4
"""Speeds of the encoder: to find the quality; for what is kept, a fifth of a decibel better; and
where time is no matter, another seventh."""
_SPARED = {_USUAL: 1.12, _SLOW: 1.2}
"""By how much files are larger at the first of them, at most."""

Part = tuple[list[int], slice]
"""Pictures and rows of (K, H, W, C)."""


def missing() -> str | None:
    """What an enhancement layer needs and is not here, in words; Pillow's wheels have it."""
    return None if features.check("avif") else "Pillow has no AVIF here"


def obstacle(pictures: PixelArray) -> str | None:
    """Why these pictures get no enhancement layer, in words; ``None`` if they may."""
    too_large = "the pictures are too large for one" if pictures.nbytes > LARGEST else None
    return missing() or too_large


@dataclass(frozen=True)
class Plan:
    """How a layer is to be coded: its head, then the strips in their order.

    The head is 16 bits that say which pictures it has, the lowest for the first, big-endian; a byte
    with the number of strips, and one with the first of them. A strip has, for each of its parts, a
    byte for each picture in it, with its divisor in sixteenths; the length of an AVIF, 32 bits,
    big-endian; and the AVIF; see :func:`add`.

    Attributes:
        wanted: (K, H, W, C), what went into the network, from -255 to 510.
        held: pictures that it has.
        gain: by which differences are multiplied before they are coded.
        quality: of the codec, about.
        sizes: bytes of each strip in that quality, about.
        gained: mean squared error over all pictures that it takes away, if coded quickly.
        first: the strip that comes first; the others follow, and behind the last one the top.
        thorough: whether coding may take eight times as long.
    """

    wanted: PixelArray
    held: list[int]
    gain: float
    quality: int
    sizes: list[int]
    gained: float
    first: int = 0
    thorough: bool = False

    @property
    def head(self) -> bytes:
        """Bytes before the strips."""
        mask = sum(1 << k for k in self.held)
        return _HEAD.pack(mask, len(self.sizes), self.first)

    @property
    def order(self) -> list[int]:
        """The strips as they are in the layer."""
        count = len(self.sizes)
        return [(self.first + i) % count for i in range(count)]

    def rows(self, strip: int) -> slice:
        """Of the pictures, that a strip has."""
        return strips(self.wanted.shape[1], len(self.sizes))[strip]

    def coded(self, strip: int, restored: FixedPoint, size: int, least: int = 0) -> bytes:
        """A strip of the layer.

        Args:
            strip: which.
            restored: (K, h, W, C) in parts of a level, its rows as the network restores them.
            size: bytes, at most.
            least: bytes, at least, if not more than ``size``.
        """
        wanted = self.wanted[:, self.rows(strip)]
        parts = _parts(self.held, wanted.shape)
        speed = _SLOW if self.thorough else _USUAL
        room = round(size * _SPARED[speed])
        quality = _quality(wanted, restored, parts, self.gain, room, self.quality)
        files = [b""] * len(parts)
        while quality >= 0:
            found = _files(wanted, restored, parts, self.gain, quality, speed)
            if _length(parts, found) <= size:
                files = found
                break
            quality -= 1
        heads = [
            self._divisors(wanted[part], restored[part], data)
            for part, data in zip(parts, files, strict=True)
        ]
        # Zeros behind an AVIF mean nothing.
        files[-1] += bytes(max(0, min(least, size) - _length(parts, files)))
        return b"".join(
            head + len(data).to_bytes(_LENGTH, "big") + data
            for head, data in zip(heads, files, strict=True)
        )

    def told(self, restored: FixedPoint, size: int) -> FixedPoint:
        """What a layer in one strip would add.

        Args:
            restored: (K, H, W, C) in parts of a level, as the network restores it.
            size: bytes, at most.

        Returns:
            Of that shape, in parts of a level.
        """
        told = np.zeros_like(restored)
        add(self.head + self.coded(0, restored, size - _HEAD.size), told)
        return told

    def _divisors(self, wanted: PixelArray, restored: FixedPoint, data: bytes) -> bytes:
        """For each picture of a part that by which what is decoded of it is best divided.

        It is more than the gain: a codec puts a coefficient into the middle of its interval, and
        smaller ones are more frequent.
        """
        decoded = _decoded(data, restored.shape)
        if decoded is None:
            return bytes(len(wanted))
        products, squares = _products(wanted, restored, decoded, self.gain)
        shares = products / np.maximum(squares, 1)
        least, most = _DIVISORS
        sixteenths = np.rint(_SIXTEENTHS * self.gain / np.maximum(shares, 1e-9))
        return np.where(sixteenths <= most, sixteenths.clip(least), 0).astype(np.uint8).tobytes()


def strips(height: int, count: int) -> list[slice]:
    """The rows of so many strips of a picture."""
    units = -(-height // _ROWS)
    ends = [min(height, units * i // count * _ROWS) for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def planned(wanted: PixelArray, restored: FixedPoint, size: int, count: int = 1) -> Plan | None:
    """How to code what is to be added to restored levels to come near to those that were wanted.

    Args:
        wanted: (K, H, W, C), what went into the network, from -255 to 510.
        restored: likewise, but in parts of a level: what comes out, about.
        size: bytes, at most.
        count: of strips.

    Returns:
        ``None`` where nothing fits or gains, and for pictures that are not in colour.
    """
    if size < _SMALLEST or wanted.shape[3] != 3 or wanted.shape[2] > _SIDE:
        return None
    held = list(range(len(wanted)))
    quality = _USUAL_QUALITY
    while held:
        gain = _gain(wanted, restored, held)
        of_strips = [
            [
                (pictures, slice(strip.start + rows.start, strip.start + rows.stop))
                for pictures, rows in _parts(held, wanted[:, strip].shape)
            ]
            for strip in strips(wanted.shape[1], count)
        ]
        parts = [part for strip in of_strips for part in strip]
        tried = parts[:: -(-len(parts) // _TRIED)]
        room = (size - _HEAD.size) * sum(map(_rows_of, tried)) // sum(map(_rows_of, parts))
        quality = _quality(wanted, restored, tried, gain, room, quality)
        if quality < 0:
            return None
        files = _files(wanted, restored, parts, gain, quality, _QUICK)
        helped, gained = _gained(wanted, restored, parts, files, gain)
        if helped == held:
            left = iter(files)
            sizes = [_length(strip, [next(left) for _ in strip]) for strip in of_strips]
            return Plan(wanted, held, gain, quality, sizes, gained)
        held = helped
    return None


def _gain(wanted: PixelArray, restored: FixedPoint, held: list[int]) -> float:
    """The greatest gain for which next to no difference is too large."""
    sizes = np.arange(_SIZES)
    counts = np.zeros(_SIZES)
    for k in held:
        for top in range(0, wanted.shape[1], _STRIP):
            some = k, slice(top, top + _STRIP)
            differences = np.abs(_missing(wanted[some], restored[some]))
            differences = ((differences + FRACTION // 2) // FRACTION).clip(max=_SIZES - 1)
            counts += np.bincount(differences.reshape(-1), minlength=_SIZES)

    def clipped(gain: float) -> float:
        over = (sizes - (_MIDDLE - 1) / gain).clip(0)
        return float(np.sum(counts * over**2) / counts.sum())

    return next((gain for gain in _GAINS if clipped(gain) < _CLIPPED), _GAINS[-1])


def _quality(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    gain: float,
    size: int,
    guess: int,
) -> int:
    """The best quality in which these parts fit, coded quickly; -1 if in none."""

    def needed(quality: int) -> int:
        return _length(parts, _files(wanted, restored, parts, gain, quality, _QUICK))

    return best_quality(needed, size, _BEST + 1, guess)


def best_quality(needed: Callable[[int], int], size: int, count: int, guess: int) -> int:
    """The best of so many qualities in which something fits, from 0 on; -1 if in none.

    It is looked for from a guess on: in steps that should lead to the size and are longer each
    time, or halfway between those known where a step would leave these.

    Args:
        needed: bytes, above 0, in a quality; not fewer in a better one.
        size: bytes, at most.
        count: of qualities.
        guess: one of them.
    """
    fits, fails = -1, count
    quality, stride = guess, count / _GROWTH
    while fails - fits > 1:
        if not fits < quality < fails:
            quality = (fits + fails) // 2
        length = needed(quality)
        step = math.floor(stride * math.log(max(size, 1) / length))
        stride *= 2
        if length <= size:
            fits = quality
            quality += max(1, step)
        else:
            fails = quality
            quality += min(-1, step)
    return fits


def _files(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    gain: float,
    quality: int,
    speed: int,
) -> list[bytes]:
    return [_avif(wanted[part], restored[part], gain, quality, speed) for part in parts]


def _length(parts: Sequence[Part], files: Sequence[bytes]) -> int:
    """Bytes of parts with their heads."""
    return sum(
        len(pictures) + _LENGTH + len(data)
        for (pictures, _), data in zip(parts, files, strict=True)
    )


def _gained(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    files: Sequence[bytes],
    gain: float,
) -> tuple[list[int], float]:
    """The pictures that a layer brings nearer, and the mean squared error that it takes away.

    What is restored best would only get the errors of the codec.
    """
    nearer, taken = np.zeros((2, len(wanted)))
    for (pictures, rows), data in zip(parts, files, strict=True):
        part = pictures, rows
        decoded = _decoded(data, restored[part].shape)
        if decoded is not None:
            products, squares = _products(wanted[part], restored[part], decoded, gain)
            nearer[pictures] += 2 * products - squares
            taken[pictures] += products.clip(0) ** 2 / np.maximum(squares, 1)
    helped = [k for k in range(len(wanted)) if nearer[k] > 0]
    return helped, float(taken[helped].sum()) / (FRACTION**2 * wanted.size)


def _products(
    wanted: PixelArray, restored: FixedPoint, decoded: Pixels, gain: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each picture the sum of what is missing times what is told, and of the latter's squares.

    In squared parts of a level.
    """
    products, squares = np.zeros((2, len(wanted)))
    levels = _differences(gain)
    for top in range(0, wanted.shape[1], _STRIP):
        some = slice(None), slice(top, top + _STRIP)
        told = levels[decoded[some]]
        missing = _missing(wanted[some], restored[some])
        axes = 1, 2, 3
        products += np.multiply(missing, told, dtype=np.int32).sum(axes, np.float64)
        squares += np.square(told, dtype=np.int32).sum(axes, np.float64)
    return products, squares


def add(data: bytes, restored: FixedPoint) -> None:
    """Add an enhancement layer to what was restored, in place.

    Args:
        data: as told at :class:`Plan`; it may come from anyone. From where it does not hold what it
            should, nothing is added.
        restored: (K, H, W, C), in parts of a level.
    """
    if len(data) < _HEAD.size:
        return
    mask, count, first = _HEAD.unpack_from(data)
    if not first < count <= -(-restored.shape[1] // _ROWS):
        return
    data = data[_HEAD.size :]
    held = [k for k in range(len(restored)) if mask >> k & 1]
    found = strips(restored.shape[1], count)
    for strip in found[first:] + found[:first]:
        area = restored[:, strip]
        for pictures, rows in _parts(held, area.shape):
            divisors, data = data[: len(pictures)], data[len(pictures) :]
            length, data = int.from_bytes(data[:_LENGTH], "big"), data[_LENGTH:]
            file, data = data[:length], data[length:]
            if not any(file):
                continue
            decoded = _decoded(file, area[pictures, rows].shape)
            if decoded is None:
                return
            for k, divisor, picture in zip(pictures, divisors, decoded, strict=True):
                if divisor >= _DIVISORS[0]:
                    area[k, rows] += _differences(divisor / _SIXTEENTHS)[picture]


def _missing(wanted: PixelArray, restored: FixedPoint) -> FixedPoint:
    """What restored levels lack, in parts of one."""
    return to_fixed_point(wanted) - restored


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


def _avif(wanted: PixelArray, restored: FixedPoint, gain: float, quality: int, speed: int) -> bytes:
    """The difference, pictures below each other."""
    scaled = _missing(wanted, restored).astype(np.float32)
    scaled *= gain / FRACTION
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


def _decoded(data: bytes, shape: tuple[int, ...]) -> Pixels | None:
    """(K, H, W, C) of an AVIF; ``None`` if it is none of that size."""
    count, height, width, _ = shape
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            if image.size != (width, count * height):
                return None
            return np.asarray(image.convert("RGB")).reshape(shape)
    except (Image.DecompressionBombError, OSError, RuntimeError, SyntaxError, ValueError):
        return None


def _differences(divisor: float) -> FixedPoint:
    """Of each of the 256 levels of an AVIF, in parts of a level."""
    found: FixedPoint = np.rint((np.arange(256) - _MIDDLE) * (FRACTION / divisor)).astype(np.int16)
    return found
