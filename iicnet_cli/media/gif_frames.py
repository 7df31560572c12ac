"""Frames of animated GIFs, put together as browsers do.

Pillow, which decodes the codes of each frame here, keeps to the letter of the format in other ways:
it clears to a colour that nobody sees, and refuses frames that reach beyond the canvas.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text

_EXTENSION, _DESCRIPTOR, _TRAILER = 0x21, 0x2C, 0x3B
_PADDING = 0
"""Some programs write more of these behind a chain of blocks than the one that ends it."""
_GRAPHIC_CONTROL = 0xF9
_HAS_TABLE, _TABLE_SIZE, _HAS_TRANSPARENT = 0x80, 0x07, 0x01
_TO_BACKGROUND, _TO_PREVIOUS = 2, 3
_LEAST_DELAY, _USUAL_DELAY = 0.011, 0.1
"""Delays below the first, in seconds, are taken as the second, as browsers do."""
_GREYS = bytes(level for level in range(256) for _ in range(3))
"""A colour table that makes codes and colours the same."""


@dataclass(frozen=True)
class GifFrame:
    """What a GIF says about one frame.

    Attributes:
        box: left, top, width and height, pixels; it may reach beyond the canvas.
        seconds: how long it is shown, as browsers take it.
        disposal: what becomes of its box afterwards: 2 is cleared, 3 as before the frame.
        transparent: the code of transparent pixels; ``None`` for none.
        colours: uint8 (256, 3) of its codes.
        codes: its image data with the flags before them.
    """

    box: tuple[int, int, int, int]
    seconds: float
    disposal: int
    transparent: int | None
    colours: Pixels
    codes: bytes

    def indices(self) -> Pixels:
        """Decode its codes, uint8 (height, width)."""
        size = struct.pack("<HH", *self.box[2:])
        start = b"GIF89a" + size + bytes([0xF7, 0, 0]) + _GREYS
        picture = start + bytes([_DESCRIPTOR, 0, 0, 0, 0]) + size + self.codes + bytes([_TRAILER])
        with Image.open(io.BytesIO(picture), formats=("GIF",)) as image:
            return np.array(image.convert("L"))


class GifFile:
    """A GIF file, parsed.

    Attributes:
        size: width and height of the canvas, pixels.
        frames: in order.

    Raises:
        MediaError: the file is damaged, or too large.
    """

    def __init__(self, path: Path) -> None:
        """Parse a file; its codes are not decoded yet."""
        self._name = path.name
        try:
            self.frames: list[GifFrame] = []
            self.size = _parse(path.read_bytes(), self.frames)
        except (struct.error, IndexError, OSError) as error:
            raise MediaError(f"{path.name}: truncated or damaged") from error
        if not self.frames:
            raise MediaError(f"{path.name}: has no frame")
        for width, height in (self.size, *(frame.box[2:] for frame in self.frames)):
            if not 0 < width * height <= max_pixels():
                raise MediaError(f"{path.name}: {width}x{height} is not up to {max_pixels_text()}")

    def pictures(self) -> Generator[Pixels]:
        """Put the frames together: uint8 (H, W, 4), with alpha 0 or 255; valid until the next."""
        width, height = self.size
        canvas = np.zeros((height, width, 4), np.uint8)
        for number, frame in enumerate(self.frames):
            left, top, frame_width, frame_height = frame.box
            region = canvas[top : top + frame_height, left : left + frame_width]
            before = region.copy() if frame.disposal == _TO_PREVIOUS else None
            try:
                indices = frame.indices()[: region.shape[0], : region.shape[1]]
            except Exception as error:  # Pillow raises nearly anything on damaged data
                raise MediaError(f"{self._name}: damaged at frame {number} ({error})") from error
            drawn = np.full(indices.shape, frame.transparent is None)
            if frame.transparent is not None:
                drawn = indices != frame.transparent
            region[drawn, :3] = frame.colours[indices[drawn]]
            region[drawn, 3] = 255
            yield canvas
            if before is not None:
                region[:] = before
            elif frame.disposal == _TO_BACKGROUND:
                region[:] = 0


def is_gif(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a GIF."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GIF8"
    except OSError:
        return False


def is_animated_gif(path: Path) -> bool:
    """Return whether a GIF has several frames, even if it is damaged behind the second."""
    frames: list[GifFrame] = []
    with suppress(struct.error, IndexError, OSError):
        _parse(path.read_bytes(), frames)
    return len(frames) > 1


def _parse(data: bytes, frames: list[GifFrame]) -> tuple[int, int]:
    """Add the frames of a GIF to a list, and return the size of the canvas."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    shared, at = _colour_table(data, 13, flags)
    disposal, transparent, seconds = 0, None, _USUAL_DELAY
    while at < len(data) and data[at] != _TRAILER:
        if data[at] == _EXTENSION:
            if data[at + 1] == _GRAPHIC_CONTROL:
                control, delay, code = struct.unpack_from("<BHB", data, at + 3)
                disposal = control >> 2 & 7
                transparent = code if control & _HAS_TRANSPARENT else None
                seconds = delay / 100 if delay / 100 > _LEAST_DELAY else _USUAL_DELAY
            at = _end_of_blocks(data, at + 2)
        elif data[at] == _DESCRIPTOR:
            left, top, w, h, flags = struct.unpack_from("<HHHHB", data, at + 1)
            own, start = _colour_table(data, at + 10, flags)
            at = _end_of_blocks(data, start + 1)
            colours = own if flags & _HAS_TABLE else shared
            codes = bytes([flags & 0x40]) + data[start:at]
            box = left, top, w, h
            frames.append(GifFrame(box, seconds, disposal, transparent, colours, codes))
            disposal, transparent, seconds = 0, None, _USUAL_DELAY
        elif data[at] == _PADDING:
            at += 1
        else:
            raise IndexError("no block")
    if frames and not width * height:  # what the first frame needs
        width, height = frames[0].box[2:]
    return width, height


def _colour_table(data: bytes, at: int, flags: int) -> tuple[Pixels, int]:
    """The colours at a place, black where there are fewer than 256, and the offset behind them."""
    colours = np.zeros((256, 3), np.uint8)
    if not flags & _HAS_TABLE:
        return colours, at
    count = 2 << (flags & _TABLE_SIZE)
    end = at + 3 * count
    table = data[at:end]
    if len(table) < 3 * count:
        raise IndexError("the colour table is cut off")
    colours[:count] = np.frombuffer(table, np.uint8).reshape(count, 3)
    return colours, end


def _end_of_blocks(data: bytes, at: int) -> int:
    """The offset behind a chain of blocks, each with its length before it."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
