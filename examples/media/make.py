"""Make the sample cut-out and the sample stereo pair from the sample photos.

Use: python examples/media/make.py

``cup.png`` is the cup of ``coffee.png`` with an alpha channel: three outlines, drawn by hand.
``pair.mpo`` is an artificial stereo pair: ``china.jpg`` as a slanted plane with the cup before it,
each shifted sideways as its distance requires.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from iicnet_cli.media.stereo_formats import write_pair

MEDIA = Path(__file__).resolve().parent
OVERSAMPLING = 4
"""The outlines are drawn this many times larger and then reduced, for smooth edges."""


def cup() -> Image.Image:
    """The cup, saucer and spoon, 600x400 RGBA."""
    photo = Image.open(MEDIA / "coffee.png").convert("RGB")
    mask = Image.new("L", (photo.width * OVERSAMPLING, photo.height * OVERSAMPLING))
    saucer = Image.new("L", mask.size)
    box = [OVERSAMPLING * side for side in (277 - 202, 227 - 158, 277 + 202, 227 + 158)]
    ImageDraw.Draw(saucer).ellipse(box, fill=255)
    mask.paste(saucer.rotate(-6, center=(277 * OVERSAMPLING, 227 * OVERSAMPLING)))
    draw = ImageDraw.Draw(mask)
    draw.ellipse([OVERSAMPLING * side for side in (173, 18, 408, 208)], fill=255)
    spoon = ((397, 70), (413, 66), (424, 74), (421, 92), (400, 130), (385, 120))
    draw.polygon([(OVERSAMPLING * x, OVERSAMPLING * y) for x, y in spoon], fill=255)
    mask = mask.resize(photo.size, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.7))
    # Black under fully transparent pixels makes the file smaller.
    cutout = Image.new("RGBA", photo.size)
    photo.putalpha(mask)
    cutout.paste(photo, mask=mask.point(lambda value: 255 if value else 0))
    return cutout


def pair(front: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The left and the right view, 450x300, of a cut-out before the temple."""
    back = Image.open(MEDIA / "china.jpg").convert("RGB")
    small = front.resize((300, 200), Image.Resampling.LANCZOS)
    views = []
    for eye in (-0.5, 0.5):
        # Shifts in pixels: 4 at the top, 10 at the bottom, 22 for the cup.
        coefficients = (600 / 474, eye * 6 / 300 * 600 / 474, 13 + eye * 4, 0, 400 / 300, 0)
        view = back.transform(
            (450, 300), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
        )
        view.paste(small, (130 - round(eye * 22), 95), small)
        views.append(view)
    return views[0], views[1]


if __name__ == "__main__":
    cutout = cup()
    cutout.save(MEDIA / "cup.png", optimize=True)
    left, right = pair(cutout)
    write_pair(MEDIA / "pair.mpo", np.asarray(left), np.asarray(right), overwrite=True)
