"""Small files of every kind for fuzz.py: made here, with the PNGs of tests/compat."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.media.layered_image import Layer
from iicnet_cli.media.openraster import write_ora
from iicnet_cli.media.stereo_formats import write_pair
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.payload.bundle import Bundle, BundledFile, Role
from iicnet_cli.payload.mark import ClipPlace, Mark
from iicnet_cli.pictures.arrays import Pixels

COMPAT = Path(__file__).parents[1] / "tests" / "compat"
_HEIGHT, _WIDTH = 32, 48
_LARGEST_EMBEDDING = 100_000


def write_corpus(folder: Path) -> None:
    """Write the corpus; the suffix of each file says which harnesses take it."""
    frames = [_picture(seed) for seed in range(4)]
    _write_stills(folder, frames)
    for suffix in (".mp4", ".mkv", ".webm", ".avi"):
        with open_writer(folder / f"clip{suffix}", _WIDTH, _HEIGHT, Fraction(10)) as writer:
            for frame in frames:
                writer.add(frame)
    write_pair(folder / "pair.mpo", frames[0], frames[1])
    write_pair(folder / "pair.jps", frames[0], frames[1])
    layers = [Layer(str(i), _with_alpha(frames[i], 255 - 100 * i)) for i in range(2)]
    write_ora(folder / "layers.ora", layers, frames[0])
    for i, path in enumerate(sorted(COMPAT.rglob("*.png"))):
        if path.stat().st_size <= _LARGEST_EMBEDDING:
            shutil.copyfile(path, folder / f"{i}.iicnet")
            if header := read_header(path):
                (folder / f"{i}.json").write_text(header.to_json())
    mark = Mark(5, 1, 2, 2, (3, 4), 2500, b"", b"motion", b"enhancement" * 5)
    (folder / "whole.mark").write_bytes(mark.to_bytes())
    part = replace(mark, place=ClipPlace(1, is_last=True))
    (folder / "part.mark").write_bytes(part.to_bytes())
    (folder / "small.mark").write_bytes(Mark(0, 1, 5, 5).to_bytes())
    files = [
        BundledFile(Role.ORIGINAL, "a.txt", b"text" * 20),
        BundledFile(Role.ATTACHMENT, "b", b"x"),
    ]
    (folder / "two.bundle").write_bytes(Bundle(tuple(files)).to_bytes())


def _write_stills(folder: Path, frames: list[Pixels]) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    for suffix in (".png", ".jpg", ".tif", ".webp", ".avif", ".bmp", ".gif"):
        images[0].save(folder / f"still{suffix}")
    exif = images[0].getexif()
    exif[0x0112] = 6
    images[0].save(folder / "turned.jpg", exif=exif, progressive=True)
    Image.fromarray(frames[0][..., 0].astype(np.uint16) * 257).save(
        folder / "deep.png", transparency=0
    )
    images[0].convert("CMYK").save(folder / "cmyk.jpg")
    images[0].convert("P").save(folder / "palette.png", transparency=3)
    for suffix in (".gif", ".webp", ".png", ".avifs"):
        path = folder / f"animation{suffix}"
        images[0].save(path, save_all=True, append_images=images[1:], duration=50)
    images[0].save(folder / "pages.tif", save_all=True, append_images=images[1:])
    channels = frames[0].transpose(2, 0, 1).tobytes()
    start = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, _HEIGHT, _WIDTH, 8, 3)
    (folder / "flat.psd").write_bytes(start + bytes(12) + b"\0\0" + channels)


def _picture(seed: int) -> Pixels:
    x, y = np.meshgrid(np.arange(_WIDTH), np.arange(_HEIGHT))
    waves = [127 + 120 * np.sin(x / (5 + c + seed) + y / (9 - c)) for c in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


def _with_alpha(pixels: Pixels, alpha: int) -> Pixels:
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])
