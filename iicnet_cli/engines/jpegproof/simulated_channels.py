"""What may happen to a picture on its way, simulated: re-encoding, noise and lost parts."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
from PIL import Image

from iicnet_cli.pictures.arrays import Pixels, as_colour


@dataclasses.dataclass(frozen=True)
class Recoding:
    """A lossy file that a picture goes through.

    Attributes:
        kind: of Pillow: ``JPEG`` or ``WEBP``.
        options: of Pillow.
    """

    kind: str
    options: dict[str, Any]

    def apply(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) as it arrives."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, self.kind, **self.options)
        with Image.open(file) as image:
            return np.array(image.convert("RGB"), np.uint8)


def jpeg(quality: int, chroma: str = "4:2:0", *, progressive: bool = False) -> Recoding:
    """JPEG as libjpeg makes it; progressive ones are optimised as well."""
    options = {"quality": quality, "subsampling": chroma}
    if progressive:
        options |= {"progressive": True, "optimize": True}
    return Recoding("JPEG", options)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in each sample and the same in each call.

    Attributes:
        deviation: in 8-bit units.
    """

    deviation: float

    def apply(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) as it arrives."""
        added = np.random.default_rng(0).normal(0, self.deviation, pixels.shape)
        return np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Reduction:
    """A picture that is too large is made smaller.

    Attributes:
        longest_side: pixels of the longer side, at most.
    """

    longest_side: int

    def apply(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) as it arrives."""
        height, width = pixels.shape[:2]
        scale = self.longest_side / max(height, width)
        if scale >= 1:
            return pixels
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), np.uint8)


@dataclasses.dataclass(frozen=True)
class Crop:
    """The middle of a picture, cut out at odd offsets.

    Attributes:
        share: of the area that is left.
    """

    share: float

    def apply(self, pixels: Pixels) -> Pixels:
        """(h, w, 3) of (H, W, 3)."""
        left = self.share**0.5
        height, width = (max(1, int(side * left)) for side in pixels.shape[:2])
        top, start = ((n - m) // 2 | 1 for n, m in zip(pixels.shape, (height, width), strict=False))
        return pixels[top : top + height, start : start + width]


@dataclasses.dataclass(frozen=True)
class PastedSquare:
    """A rectangle over the middle of a picture.

    Attributes:
        share: of each side.
        colour: (R, G, B).
    """

    share: float = 0.25
    colour: tuple[int, int, int] = (250, 210, 40)

    def apply(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) as it arrives."""
        pasted = pixels.copy()
        rows, columns = (
            slice(int(side * (1 - self.share) / 2), int(side * (1 + self.share) / 2))
            for side in pixels.shape[:2]
        )
        pasted[rows, columns] = self.colour
        return pasted


@dataclasses.dataclass(frozen=True)
class SimulatedChannel:
    """One way of a picture.

    Attributes:
        name: for tables.
        steps: what happens, in order.
    """

    name: str
    steps: tuple[Recoding | Noise | Reduction | Crop | PastedSquare, ...]

    def apply(self, pixels: Pixels) -> Pixels:
        """A picture (H, W, 3) or (H, W) as it arrives, (H, W, 3)."""
        pixels = as_colour(pixels)
        for step in self.steps:
            pixels = step.apply(pixels)
        return pixels


LOSSES = (
    SimulatedChannel("a crop to 75 % of the area", (Crop(0.75),)),
    SimulatedChannel("a pasted square", (PastedSquare(),)),
)
"""What takes a part of the picture away; the first one takes most."""


def service(name: str, quality: int, longest_side: int | None) -> SimulatedChannel:
    """What a service does to a photo: it makes it smaller where it is too large, and a JPEG."""
    recoding = jpeg(quality)
    if longest_side is None:
        return SimulatedChannel(name, (recoding,))
    return SimulatedChannel(name, (Reduction(longest_side), recoding))


def channels_from(quality: int) -> tuple[SimulatedChannel, ...]:
    """Everything that a picture for JPEG of this quality and better has to survive."""
    found = [
        SimulatedChannel(f"JPEG {each} {chroma}", (jpeg(each, chroma),))
        for each in range(quality, 96, 5)
        for chroma in ("4:2:0", "4:4:4")
    ]
    found += [
        SimulatedChannel(f"JPEG 85, {quality}", (jpeg(85), jpeg(quality))),
        SimulatedChannel(f"JPEG {quality}, 90", (jpeg(quality), jpeg(90))),
        SimulatedChannel(f"JPEG {quality} progressive", (jpeg(quality, progressive=True),)),
    ]
    if quality <= 70:
        found.append(SimulatedChannel("WebP 90", (Recoding("WEBP", {"quality": 90}),)))
    deviation = 1.0 if quality >= 85 else 1.5
    found.append(SimulatedChannel(f"noise {deviation:g}", (Noise(deviation),)))
    return tuple(found)


def hardest_channels(quality: int) -> tuple[SimulatedChannel, ...]:
    """Those of :func:`channels_from` that lose most; every other one loses less."""
    between = [SimulatedChannel(f"JPEG {q}", (jpeg(q),)) for q in (quality, quality + 5, 95)]
    names = ("JPEG 85,", f"JPEG {quality},", "WebP", "noise")
    return (*between, *(c for c in channels_from(quality) if c.name.startswith(names)))
