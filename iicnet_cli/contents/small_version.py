"""A small version of what is hidden, for engines that can protect some bytes more than the rest.

It is one still: the hidden photo, or a contact sheet of several, or of moments of a clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from os import PathLike
from pathlib import Path

import numpy as np

from iicnet_cli.contents.part import ContentsRequest
from iicnet_cli.media.files import filling_folder, named_after, names_folder
from iicnet_cli.media.stills import resize, write_still
from iicnet_cli.media.suffixes import STILL_SUFFIXES
from iicnet_cli.media.tiny_stills import decode_tiny, encode_tiny
from iicnet_cli.pictures.arrays import Pixels

SMALL_VERSION = "small-version"
"""Name of the small version as a file, without its suffix."""
_MOST_PICTURES = 4
"""Pictures of a sheet; with more of them, each would be too small."""
_SHEET_SIDE = 512
"""Pixels of the longer side of a sheet, before it is made as small as its bytes want it."""


def photos_small_version(
    request: ContentsRequest, pictures: Sequence[Pixels], cover: Pixels
) -> bytes | None:
    """A small version of photos, the reference first; ``None`` if there is no room or no need.

    Args:
        request: what contents are chosen for.
        pictures: (H, W, 3) each, at their own sizes.
        cover: what the embedding shows.
    """
    hidden = pictures[1:]
    if not hidden and cover.ndim == 2:
        hidden = pictures  # the cover shows them without their colours
    return _encode(request, hidden, cover)


def clip_small_version(request: ContentsRequest, frames: int, cover: Pixels) -> bytes | None:
    """A small version of a clip of so many frames; the rest as of :func:`photos_small_version`."""
    if request.small_version_capacity(cover) <= 0:
        return None
    last = frames - 1
    wanted = {last * i // max(1, _MOST_PICTURES - 1) for i in range(_MOST_PICTURES)}
    with closing(request.source.groups()) as groups:
        chosen = [
            group.pictures[0] for i, group in zip(count(), groups, strict=False) if i in wanted
        ]
    return _encode(request, chosen, cover)


def _encode(request: ContentsRequest, pictures: Sequence[Pixels], cover: Pixels) -> bytes | None:
    if not pictures:
        return None
    return encode_tiny(_sheet(pictures[:_MOST_PICTURES]), request.small_version_capacity(cover))


def _sheet(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures in a grid whose cells have the shape of the first one."""
    height, width = pictures[0].shape[:2]
    columns = math.ceil(len(pictures) ** 0.5)
    rows = math.ceil(len(pictures) / columns)
    scale = min(1.0, _SHEET_SIDE / max(height * rows, width * columns))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + height, left : left + width] = resize(picture, width, height)
    return sheet


def write_small_version(
    data: bytes, png: Path, output: str | PathLike[str] | None, *, overwrite: bool
) -> Path:
    """Write a small version where what it stands for was to go.

    Args:
        data: as an embedding carried it.
        png: the path after which outputs are named by default.
        output: what the restored pictures were to be: a file or folder.
        overwrite: replace existing files.

    Returns:
        The picture that was written.

    Raises:
        DamagedError: it is no picture.
        UsageError, OutputExistsError, MediaError: it cannot be written there.
    """
    pixels = decode_tiny(data)
    if output is None:
        target = named_after(png, "-restored.png")
    elif names_folder(Path(output)):
        target = Path(output) / f"{SMALL_VERSION}.png"
        with filling_folder(Path(output), overwrite=overwrite) as folder:
            write_still(folder / target.name, pixels)
        return target
    else:
        target = Path(output)
        if target.suffix.lower() not in STILL_SUFFIXES:  # of a clip, say
            target = target.with_suffix(".png")
    write_still(target, pixels, overwrite=overwrite)
    return target
