"""A still in some hundred bytes: a thumbnail that shows as much as they can.

It is the AV1 data of an AVIF file without the rest of the file, 275 bytes that are nearly the same
in each. Of 220 bytes, that is worth more than 1 dB beside WebP, the smallest kind of file. Two
bytes before say width and height, both less 1.
"""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
from PIL import Image, features

from iicnet_cli.errors import DamagedError, MediaError
from iicnet_cli.media.quality_search import best_quality
from iicnet_cli.media.stills import fit_within, read_still, resize, scale_to
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

TINY_SUFFIX = ".avif"
"""Suffix of the file that it would be with a container."""
_LEAST_BYTES = 90
"""Fewer bytes show nothing that helps."""
_SIDES = (24, 32, 48, 64, 96, 128, 192, 256)
"""Pixels of the longer side that are tried; not more than 256."""
_QUALITIES = 96
"""Qualities of the codec that are used: 0 to one less than this."""
_FAST, _SLOW = 8, 2
"""Speeds of the encoder: to choose the side, and to code that side once more; the better one is
kept."""


def encode_tiny(pixels: Pixels, max_size: int) -> bytes | None:
    """The best small picture of one (H, W, 3).

    Returns:
        At most ``max_size`` bytes; ``None`` if they are too few, or if this Pillow has no AVIF.
    """
    if max_size < _LEAST_BYTES or not features.check("avif"):
        return None
    wanted = fit_within(pixels, _SIDES[-1])
    height, width = wanted.shape[:2]
    longest = max(wanted.shape[:2])

    def found(side: int, speed: int) -> tuple[float, int, bytes] | None:
        data = _largest(scale_to(pixels, side), max_size, speed)
        if data is None:
            return None
        return psnr(resize(decode_tiny(data), width, height), wanted), side, data

    sides = (*(side for side in _SIDES if side < longest), longest)
    fitting = [each for side in sides if (each := found(side, _FAST))]
    if not fitting:
        return None
    best = max(fitting)
    slower = found(best[1], _SLOW)
    return max(best, slower)[2] if slower else best[2]


def decode_tiny(data: bytes) -> Pixels:
    """The picture (h, w, 3) of :func:`encode_tiny`, safe with untrusted bytes.

    Raises:
        DamagedError: it is none.
    """
    try:
        width, height = data[0] + 1, data[1] + 1
        pixels = read_still(io.BytesIO(_with_container(data[2:], width, height))).pixels
        if pixels.shape != (height, width, 3):
            raise MediaError("its size is another one")
        return pixels
    except (IndexError, MediaError) as error:
        raise DamagedError(f"the small version cannot be read: {error}") from error


def _largest(pixels: Pixels, max_size: int, speed: int) -> bytes | None:
    """The picture in the highest quality that fits."""

    @cache
    def data(quality: int) -> bytes:
        return _encoded(pixels, quality, speed)

    quality = best_quality(lambda q: len(data(q)), max_size, _QUALITIES, _QUALITIES // 4)
    return data(quality) if quality >= 0 else None


def _encoded(pixels: Pixels, quality: int, speed: int) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(target, "AVIF", quality=quality, speed=speed, subsampling="4:2:0")
    file = target.getvalue()
    height, width = pixels.shape[:2]
    return bytes((width - 1, height - 1)) + file[file.index(b"mdat") + 4 :]


def _with_container(data: bytes, width: int, height: int) -> bytes:
    """The AVIF file (ISO/IEC 14496-12, 23008-12) of one AV1 still: 8 bits, 4:2:0, sRGB."""
    properties = (
        _box(b"ispe", struct.pack(">III", 0, width, height)),
        _box(b"pixi", bytes((0, 0, 0, 0, 3, 8, 8, 8))),
        _box(b"av1C", bytes((0x81, 0, 0x0C, 0))),
        _box(b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80)),
    )
    associations = struct.pack(">IIHB", 0, 1, 1, len(properties)) + bytes((1, 2, 0x83, 4))
    entry = _box(b"infe", struct.pack(">IHH", 2 << 24, 1, 0) + b"av01Color\0")
    start = _box(b"ftyp", b"avif\0\0\0\0avifmif1miafMA1B")

    def meta(offset: int) -> bytes:
        place = struct.pack(">IHHHHHII", 0, 0x4400, 1, 1, 0, 1, offset, len(data))
        return _box(
            b"meta",
            bytes(4),
            _box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _box(b"pitm", struct.pack(">IH", 0, 1)),
            _box(b"iloc", place),
            _box(b"iinf", struct.pack(">IH", 0, 1), entry),
            _box(b"iprp", _box(b"ipco", *properties), _box(b"ipma", associations)),
        )

    offset = len(start) + len(meta(0)) + 8
    return start + meta(offset) + _box(b"mdat", data)


def _box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I", 8 + len(body)) + kind + body
