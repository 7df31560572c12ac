"""Stills in few bytes: the smallest file of a wanted quality, the best file of a wanted size.

AVIF is best at low rates, JPEG 2000 from about four bits a pixel on, and WebP is the smallest
without loss; a picture takes what serves it best. At the lowest rates a smaller picture that is
enlarged again is better, and a slow encoder is worth its time.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, features

from iicnet_cli.errors import MediaError
from iicnet_cli.media.quality_search import best_quality
from iicnet_cli.media.stills import resize
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

_QUALITIES = {"avif": 101, "jpg_2000": 401}
"""Each codec has qualities from 0 to one less than this."""
_RATES = {"avif": (0.07, 6.6), "jpg_2000": (0.02, 16.0)}
"""Bits a pixel at the lowest and the highest quality: of AVIF as photos take them, about; of
JPEG 2000 as they are asked for."""
_SUFFIXES = {"avif": ".avif", "jpg_2000": ".jp2", "webp": ".webp"}
"""File names end with these where a picture is encoded by these codecs."""
_MIN_LEVEL_SIDE = 32
"""JPEG 2000 halves a picture until its shorter side would be below this many pixels."""
_LOW_RATE = 1.0
"""Below so many bits a pixel AVIF alone is tried, and in the end its slower encoder."""
_REDUCED_RATE = 0.15
"""Below so many bits a pixel, smaller pictures are tried as well."""
_SHARES = (0.75, 0.5, 0.25)
"""Smaller pictures have these shares of each side."""
_FAST, _SLOW = 6, 5
"""Speeds of the encoder of AVIF. The slow one takes four times as long and gains 0.1 to 0.3 dB; one
step more gains 0.1 dB at most and takes 1.4 times as long."""


@dataclass(frozen=True)
class _Coding:
    """A codec, and how it is used.

    Attributes:
        codec: a key of ``_QUALITIES``, or ``webp`` without loss.
        share: of each side that is encoded.
        speed: of the encoder of AVIF; 0 for a quick one of WebP.
    """

    codec: str
    share: float = 1.0
    speed: int = _FAST


_LOSSLESS = _Coding("webp")
_QUICK_LOSSLESS = _Coding("webp", speed=0)
_MOST_SHRUNK, _SMALL = 10, 65536
"""WebP without loss is tried where a quick encoding takes at most so many times the bytes that
there are, or at most so many bytes: the usual encoder makes photos a tenth smaller, patterns much
more."""


@dataclass(frozen=True)
class CompactStill:
    """An encoded picture.

    Attributes:
        data: the file.
        suffix: of its name, with the dot.
        psnr: of its pixels, enlarged to the size of the picture, in dB; ``inf`` without loss.
    """

    data: bytes
    suffix: str
    psnr: float

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)


class StillEncoder:
    """Encodes one picture (H, W, 3) in many qualities, each once.

    Raises:
        MediaError: this Pillow has neither AVIF nor JPEG 2000.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._stills: dict[tuple[_Coding, int], CompactStill] = {}
        self._codings = [_Coding(name) for name in ("avif", "jpg_2000") if features.check(name)]
        if not self._codings:
            raise MediaError(
                "this Pillow writes neither AVIF nor JPEG 2000", hint="pip install -U pillow"
            )

    def least_size(self, psnr: float) -> int:
        """About how many bytes the picture takes with a PSNR in dB; found without AVIF, fast."""
        coding = self._codings[-1]
        count = _QUALITIES[coding.codec]
        quality = bisect_left(range(count), psnr, key=lambda q: self._at(coding, q).psnr)
        lossless = self._at(_LOSSLESS, 0).size
        return lossless if quality == count else min(lossless, self._at(coding, quality).size)

    def quality_without_avif(self, size: int) -> float:
        """The PSNR in dB that :meth:`least_size` tells for a size, in bytes."""
        found = self._best_of(self._codings[-1], size)
        return self._at(*found).psnr if found else 0.0

    def best(self, max_size: int, *, thorough: bool = False) -> CompactStill | None:
        """The best file of at most ``max_size`` bytes; ``None`` if none is that small.

        Args:
            max_size: bytes.
            thorough: at low rates, use a slower encoder in the end.
        """
        if self._at(_QUICK_LOSSLESS, 0).size <= max(_MOST_SHRUNK * max_size, _SMALL):
            lossless = self._at(_LOSSLESS, 0)
            if lossless.size <= max_size:
                return lossless
        height, width = self._pixels.shape[:2]
        rate = 8 * max_size / (height * width)
        codings = self._codings[:1] if rate < _LOW_RATE else self._codings
        if rate < _REDUCED_RATE:
            codings = [replace(each, share=s) for each in codings for s in (1.0, *_SHARES)]
        fitting = [found for each in codings if (found := self._best_of(each, max_size))]
        if not fitting:
            return None
        coding, quality = max(fitting, key=lambda found: self._at(*found).psnr)
        best = self._at(coding, quality)
        if thorough and rate < _LOW_RATE and coding.codec == "avif":
            # It makes smaller files, so perhaps the next quality fits.
            next_quality = min(quality + 1, _QUALITIES[coding.codec] - 1)
            slower = self._best_of(replace(coding, speed=_SLOW), max_size, next_quality)
            if slower and self._at(*slower).psnr > best.psnr:
                best = self._at(*slower)
        return best

    def _best_of(
        self, coding: _Coding, max_size: int, guess: int | None = None
    ) -> tuple[_Coding, int] | None:
        """A coding with its highest quality that fits."""
        count = _QUALITIES[coding.codec]
        known = [q for (each, q) in self._stills if each == coding]
        fitting = [q for q in known if self._at(coding, q).size <= max_size]
        start = self._usual_quality(coding, max_size) if guess is None else guess
        guess = max(fitting, default=min(known, default=start))
        quality = best_quality(lambda q: self._at(coding, q).size, max_size, count, guess)
        return (coding, quality) if quality >= 0 else None

    def _usual_quality(self, coding: _Coding, size: int) -> int:
        """The quality at which photos take so many bytes, about."""
        height, width = self._pixels.shape[:2]
        count, (lowest, highest) = _QUALITIES[coding.codec], _RATES[coding.codec]
        rate = 8 * max(size, 1) / (height * width * coding.share**2)
        share = math.log(rate / lowest) / math.log(highest / lowest)
        return min(max(0, round(share * (count - 1))), count - 1)

    def _at(self, coding: _Coding, quality: int) -> CompactStill:
        if (coding, quality) not in self._stills:
            height, width = self._pixels.shape[:2]
            smaller = resize(
                self._pixels,
                max(1, round(width * coding.share)),
                max(1, round(height * coding.share)),
            )
            data = _save(smaller, coding, quality)
            with Image.open(io.BytesIO(data)) as image:
                decoded = resize(np.asarray(image.convert("RGB")), width, height)
            still = CompactStill(data, _SUFFIXES[coding.codec], psnr(decoded, self._pixels))
            self._stills[coding, quality] = still
        return self._stills[coding, quality]


def _save(pixels: Pixels, coding: _Coding, quality: int) -> bytes:
    """A picture (H, W, 3) as a file."""
    image, file = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    if coding == _QUICK_LOSSLESS:
        image.save(file, "WEBP", lossless=True, method=0, quality=0)
    elif coding == _LOSSLESS:
        image.save(file, "WEBP", lossless=True)
    elif coding.codec == "avif":
        image.save(file, "AVIF", quality=quality, subsampling="4:4:4", speed=coding.speed)
    else:
        share = quality / (_QUALITIES[coding.codec] - 1)
        lowest, highest = _RATES[coding.codec]
        rate = lowest * (highest / lowest) ** share
        levels = int(math.log2(max(1, min(image.size) / _MIN_LEVEL_SIDE))) + 1
        image.save(
            file,
            "JPEG2000",
            quality_mode="rates",
            quality_layers=[24 / rate],
            irreversible=True,
            mct=1,
            num_resolutions=min(6, levels),
        )
    return file.getvalue()
