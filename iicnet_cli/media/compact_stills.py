"""Stills in few bytes: the smallest file of a wanted quality, the best file of a wanted size.

AVIF is best at low rates, JPEG 2000 from about four bits a pixel on, and WebP is the smallest
without loss; a picture takes what serves it best.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from iicnet_cli.errors import MediaError
from iicnet_cli.media.quality_search import best_quality
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import psnr

_QUALITIES = {"avif": 101, "jpg_2000": 401}
"""Each codec has qualities from 0 to one less than this."""
_LOWEST_RATE, _HIGHEST_RATE = 0.08, 16.0
"""Bits a pixel of the lowest and the highest quality of JPEG 2000."""
_MIN_LEVEL_SIDE = 32
"""JPEG 2000 halves a picture until its shorter side would be below this many pixels."""


@dataclass(frozen=True)
class CompactStill:
    """An encoded picture.

    Attributes:
        data: the file.
        suffix: of its name, with the dot.
        psnr: of its pixels in dB; ``inf`` without loss.
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
        self._image = Image.fromarray(np.ascontiguousarray(pixels))
        self._pixels = pixels
        self._stills: dict[tuple[str, int], CompactStill] = {}
        self._codecs = [name for name in ("avif", "jpg_2000") if features.check(name)]
        if not self._codecs:
            raise MediaError(
                "this Pillow writes neither AVIF nor JPEG 2000", hint="pip install -U pillow"
            )

    def least_size(self, psnr: float) -> int:
        """About how many bytes the picture takes with a PSNR in dB; found without AVIF, fast."""
        codec = self._codecs[-1]
        count = _QUALITIES[codec]
        quality = bisect_left(range(count), psnr, key=lambda q: self._at(codec, q).psnr)
        lossless = self._lossless().size
        return lossless if quality == count else min(lossless, self._at(codec, quality).size)

    def quality_without_avif(self, size: int) -> float:
        """The PSNR in dB that :meth:`least_size` tells for a size, in bytes."""
        found = self._best_of(self._codecs[-1], size)
        return found.psnr if found else 0.0

    def best(self, max_size: int) -> CompactStill | None:
        """The best file of at most ``max_size`` bytes; ``None`` if none is that small."""
        lossless = self._lossless()
        if lossless.size <= max_size:
            return lossless
        found = [self._best_of(codec, max_size) for codec in self._codecs]
        return max((still for still in found if still), key=lambda s: s.psnr, default=None)

    def _best_of(self, codec: str, max_size: int) -> CompactStill | None:
        """The highest quality of a codec that fits."""
        count = _QUALITIES[codec]
        known = [q for (name, q), still in self._stills.items() if name == codec]
        fitting = [q for q in known if self._at(codec, q).size <= max_size]
        guess = max(fitting, default=min(known, default=count // 2))
        quality = best_quality(lambda q: self._at(codec, q).size, max_size, count, guess)
        return self._at(codec, quality) if quality >= 0 else None

    def _lossless(self) -> CompactStill:
        return self._encoded("webp", 0, lambda: (self._save("WEBP", lossless=True), ".webp"))

    def _at(self, codec: str, quality: int) -> CompactStill:
        return self._encoded(codec, quality, lambda: self._save_lossy(codec, quality))

    def _encoded(
        self, codec: str, quality: int, encode: Callable[[], tuple[bytes, str]]
    ) -> CompactStill:
        if (codec, quality) not in self._stills:
            data, suffix = encode()
            with Image.open(io.BytesIO(data)) as image:
                decoded = np.asarray(image.convert("RGB"))
            self._stills[codec, quality] = CompactStill(data, suffix, psnr(decoded, self._pixels))
        return self._stills[codec, quality]

    def _save_lossy(self, codec: str, quality: int) -> tuple[bytes, str]:
        if codec == "avif":
            return self._save("AVIF", quality=quality, subsampling="4:4:4", speed=6), ".avif"
        share = quality / (_QUALITIES[codec] - 1)
        rate = _LOWEST_RATE * (_HIGHEST_RATE / _LOWEST_RATE) ** share
        levels = int(math.log2(max(1, min(self._image.size) / _MIN_LEVEL_SIDE))) + 1
        data = self._save(
            "JPEG2000",
            quality_mode="rates",
            quality_layers=[24 / rate],
            irreversible=True,
            mct=1,
            num_resolutions=min(6, levels),
        )
        return data, ".jp2"

    def _save(self, format: str, **options: object) -> bytes:
        file = io.BytesIO()
        self._image.save(file, format, **options)
        return file.getvalue()
