"""Draws cut-outs with soft and torn outlines: hair, leaves and smoke, in the colours of photos.

Few photographic mattes of this kind are free. These make ``quality.py --layers`` measure what the
outlines of hair, trees and smoke cost::

    python benchmarks/hairy_cutouts.py --photos kodak -o hairy/cutouts
    ln -s "$(realpath BACKGROUNDS)" hairy/backgrounds
    python benchmarks/quality.py --layers hairy --model layers-2 --model layers-3 --only network

The same photos and seed draw the same cut-outs. Those of other photos and seeds serve for training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from iicnet_cli.errors import ExitCode, MediaError
from iicnet_cli.evaluation import spread
from iicnet_cli.media.suffixes import STILL_SUFFIXES

WIDTH, HEIGHT = 640, 480
"""Size of the cut-outs."""
_SUPERSAMPLING = 4
"""Outlines are drawn this many times as large."""

Alpha = NDArray[np.uint8]
"""(HEIGHT, WIDTH), 0 where nothing covers the background."""


def hair(rng: Generator) -> Alpha:
    """2,500 curved strands of varying opacity around a head."""
    image, draw = _canvas()
    x, y = image.width / 2, image.height * 0.75
    radius = image.height * 0.23
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    points = np.linspace(0, 1, 24)
    for _ in range(2500):
        begin = rng.uniform(0.95, 2.05) * np.pi
        angles = begin + rng.normal(0, 0.9) * points**2
        step = rng.uniform(0.08, 0.55) * image.height / len(points)
        xs = x + radius * np.cos(begin) + np.cumsum(np.cos(angles)) * step
        ys = y + radius * np.sin(begin) + np.cumsum(np.sin(angles)) * step
        line = list(zip(xs, ys, strict=True))
        draw.line(line, fill=int(rng.uniform(120, 255)), width=int(rng.integers(2, 6)))
    return _reduced(image)


def leaves(rng: Generator) -> Alpha:
    """26 twigs with leaves, between which the background shows."""
    image, draw = _canvas()
    for _ in range(26):
        x, y = rng.uniform(0.1, 0.9) * image.width, float(image.height)
        angle = rng.normal(-np.pi / 2, 0.5)
        twig = [(x, y)]
        for joint in range(30):
            angle += rng.normal(0, 0.15)
            x, y = x + 60 * np.cos(angle), y + 60 * np.sin(angle)
            twig.append((x, y))
            for _ in range(3 if joint > 5 else 0):
                draw.polygon(_leaf(x, y, angle + rng.uniform(-1.5, 1.5), rng), fill=255)
        draw.line(twig, fill=255, width=6)
    return _reduced(image)


def smoke(rng: Generator) -> Alpha:
    """Noise of six octaves, densest in the middle, hardly anywhere opaque."""
    density = np.zeros((HEIGHT, WIDTH))
    for octave in range(2, 8):
        cells = 2**octave
        coarse = rng.normal(size=(cells * HEIGHT // 256 + 2, cells * WIDTH // 256 + 2))
        image = Image.fromarray(coarse.astype(np.float32))
        density += np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / cells
    density = (density - density.min()) / np.ptp(density)
    ys, xs = np.linspace(-1, 1, HEIGHT)[:, None], np.linspace(-1, 1, WIDTH)
    alpha = ((density - 0.35) * 2.2).clip(0, 1) * np.exp(-1.2 * (xs**2 + ys**2))
    result: Alpha = np.rint(255 * alpha).astype(np.uint8)
    return result


KINDS: dict[str, Callable[[Generator], Alpha]] = {"hair": hair, "leaves": leaves, "smoke": smoke}
"""What can be drawn."""


def write_cutouts(photos: Sequence[Path], folder: Path, seed: int) -> list[Path]:
    """Write one cut-out of each kind as WebP without loss; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    chosen = spread(photos, len(KINDS))
    for i, ((name, draw), photo) in enumerate(zip(KINDS.items(), chosen, strict=True)):
        alpha = draw(np.random.default_rng([seed, i]))
        with Image.open(photo) as image:
            colours = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        colours.putalpha(Image.fromarray(alpha))
        path = folder / f"{name}.webp"
        colours.save(path, lossless=True, exact=True)
        written.append(path)
    return written


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (WIDTH * _SUPERSAMPLING, HEIGHT * _SUPERSAMPLING))
    return image, ImageDraw.Draw(image)


def _reduced(image: Image.Image) -> Alpha:
    return np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def _leaf(x: float, y: float, angle: float, rng: Generator) -> list[tuple[float, float]]:
    """A rhombus that begins at a point."""
    length = rng.uniform(25, 70)
    ahead = length * np.array([np.cos(angle), np.sin(angle)])
    aside = 0.175 * np.array([-ahead[1], ahead[0]])
    corners: NDArray[Any] = np.array([[0, 0], ahead / 2 + aside, ahead, ahead / 2 - aside])
    return [(x + dx, y + dy) for dx, dy in corners]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the cut-outs; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="FOLDER", help="photos that give the colours"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    photos = sorted(p for p in options.photos.glob("*") if p.suffix.lower() in STILL_SUFFIXES)
    if len(photos) < len(KINDS):
        error = MediaError(f"{options.photos}: has no {len(KINDS)} photos")
        print(f"hairy_cutouts: {error}", file=sys.stderr)
        return ExitCode.FAILURE
    for path in write_cutouts(photos, options.output, options.seed):
        print(path)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
