"""What the tests of the command line share: pictures and clips in files, and edits of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import Result

from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.media.video_writer import open_writer
from iicnet_cli.pictures.metrics import psnr
from tests.samples import Pixels, natural

Run = Callable[..., Result]
"""Runs the command line in this process: ``run("embed", path, "-o", out)``."""

QUICK = ("--effort", "0")
"""Options of ``embed`` for tests that are not about the enhancement layer."""


def done(result: Result) -> Result:
    """``result``, of a command that has to succeed."""
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def pixels(path: Path) -> Pixels:
    """A picture as RGB, (height, width, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def frames_of(path: Path) -> Pixels:
    """All frames of a clip or of a folder, (T, height, width, 3)."""
    with open_frames(path) as frames:
        return np.stack(list(frames))


def save(path: Path, picture: Pixels) -> Path:
    """Write a picture in the format of its suffix."""
    Image.fromarray(picture).save(path)
    return path


def save_natural(
    folder: Path, sizes: Sequence[tuple[int, int]], seed: int, suffix: str
) -> list[Path]:
    """Write natural pictures of some heights and widths as 0, 1, ... with a suffix."""
    return [save(folder / f"{i}{suffix}", natural(*size, seed + i)) for i, size in enumerate(sizes)]


def save_all(folder: Path, pictures: Pixels) -> Path:
    """Write pictures as 0.png, 1.png, ... into a new folder."""
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        save(folder / f"{i}.png", picture)
    return folder


def write_clip(path: Path, frames: Pixels, **options: Any) -> Path:
    """Write frames at 30000/1001 a second in the format of the suffix."""
    height, width = frames.shape[1:3]
    with open_writer(path, width, height, Fraction(30000, 1001), **options) as writer:
        for frame in frames:
            writer.add(frame)
    return path


def strip(source: Path, target: Path | None = None) -> Path:
    """Copy a PNG without its text chunks, as many sites do; in place without ``target``."""
    target = target or source
    with Image.open(io.BytesIO(source.read_bytes())) as image:
        image.save(target, save_all=getattr(image, "is_animated", False), pnginfo=PngInfo())
    return target


def change_header(source: Path, target: Path, **changes: object) -> Path:
    """Copy a PNG with other fields in its header, unchecked, as a stranger may write them."""
    with Image.open(source) as image:
        image.load()  # the chunk stands after the pixels
        header = json.loads(image.info["iicnet"]) | changes
        chunks = PngInfo()
        chunks.add_itxt("iicnet", json.dumps(header))
        image.save(target, pnginfo=chunks)
    return target


def alike(found: Pixels, wanted: Pixels) -> bool:
    """Whether a picture is a recognisable copy of another; two different ones have about 10 dB."""
    return psnr(found, wanted) > 18
