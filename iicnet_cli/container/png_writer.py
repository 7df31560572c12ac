"""Writing an embedding PNG, still or animated, with its header."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

import numpy as np

from iicnet_cli.container.chunks import HEADER_KEYWORD, PNG_SIGNATURE, walk_chunks, write_chunk
from iicnet_cli.container.frame_hash import hash_frame
from iicnet_cli.container.header import MAX_HEADER_BYTES, Header
from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text


@dataclass(frozen=True)
class _FrameFormat:
    """What all frames of a file have in common, as IHDR says it."""

    width: int
    height: int
    grey: bool


class PngWriter:
    """Writes an embedding PNG, frame by frame, in the memory of one frame.

    One frame makes a plain PNG. More frames make an animated PNG, of which any viewer shows the
    first frame at least::

        with open("trip.png", "w+b") as file:
            writer = PngWriter(file, frame_delay=Fraction(1001, 6000))
            writer.add(pixels)  # uint8, (H, W, 3) or (H, W); once for each group
            header = writer.finish(header)

    Args:
        file: binary, empty and able to seek. The caller closes it. It holds a whole PNG only after
            ``finish``.
        frame_delay: seconds for which a viewer shows each frame; 1 by default.
        compress_level: of zlib, 0 to 9.

    Raises:
        ValueError: ``file`` cannot seek, or ``frame_delay`` is not above 0.
        OSError: from ``add`` and ``finish``, if the file cannot be written.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        frame_delay: Fraction | None = None,
        compress_level: int = 6,
    ) -> None:
        if not file.seekable():
            raise ValueError("an embedding is written to a file that can seek, not to a pipe")
        if frame_delay is not None and frame_delay <= 0:
            raise ValueError("frame_delay must be above 0 seconds")
        self._file = file
        self._delay = delay_fields(frame_delay if frame_delay is not None else Fraction(1))
        self._compress_level = compress_level
        self._digest = hashlib.sha256()
        self._format: _FrameFormat | None = None
        self._first_frame: list[bytes] = []
        self._frame_count = 0
        self._next_sequence_number = 0
        self._actl_position = 0

    def add(self, pixels: Pixels) -> None:
        """Append a frame.

        Args:
            pixels: uint8, (H, W, 3) or (H, W), the same shape for all frames.

        Raises:
            ValueError: another kind of array.
            UsageError: more pixels than ``max_pixels`` allows.
        """
        frame_format = _format_of(pixels)
        if self._format is not None and frame_format != self._format:
            raise ValueError(f"a frame differs from the first: {frame_format}, {self._format}")
        self._format = frame_format
        hash_frame(self._digest, pixels)
        data = _compress(pixels, self._compress_level)
        self._frame_count += 1
        if self._frame_count == 1:
            self._first_frame = data  # held back: only a second frame makes the file an animation
            return
        if self._frame_count == 2:
            self._write_first_frame(animated=True)
        self._write_frame_control()
        for part in data:
            write_chunk(self._file, b"fdAT", self._sequence_number(), part)

    def finish(self, header: Header) -> Header:
        """Write the rest of the file, the header last.

        Returns:
            ``header`` with ``pixels_sha256`` set.

        Raises:
            ValueError: no frame was added.
            UsageError: the header is too large.
        """
        if not self._frame_count:
            raise ValueError("an embedding needs at least one frame")
        if self._frame_count == 1:
            self._write_first_frame(animated=False)
        header = header.model_copy(update={"pixels_sha256": self._digest.hexdigest()})
        text = header.to_json().encode("ascii")
        if len(text) > MAX_HEADER_BYTES:
            raise UsageError("the header is too large: too many frames with timestamps")
        # Zeros: not compressed (Pillow refuses compressed text above 1 MiB), no language.
        write_chunk(self._file, b"iTXt", HEADER_KEYWORD, bytes(5), text)
        write_chunk(self._file, b"IEND")
        if self._frame_count > 1:
            self._file.seek(self._actl_position)
            write_chunk(self._file, b"acTL", struct.pack(">II", self._frame_count, 0))
            self._file.seek(0, os.SEEK_END)
        return header

    def _write_first_frame(self, *, animated: bool) -> None:
        assert self._format is not None
        colour_type = 0 if self._format.grey else 2
        self._file.write(PNG_SIGNATURE)
        size = struct.pack(">II", self._format.width, self._format.height)
        write_chunk(self._file, b"IHDR", size, bytes([8, colour_type, 0, 0, 0]))
        write_chunk(self._file, b"sRGB", b"\0")
        if animated:
            self._actl_position = self._file.tell()
            write_chunk(self._file, b"acTL", bytes(8))  # finish() knows the number of frames
            self._write_frame_control()
        for part in self._first_frame:
            write_chunk(self._file, b"IDAT", part)
        self._first_frame = []

    def _write_frame_control(self) -> None:
        assert self._format is not None
        size = struct.pack(">IIII", self._format.width, self._format.height, 0, 0)
        # The last two bytes: leave the frame in place, and replace what it covers.
        control = struct.pack(">HHBB", *self._delay, 0, 0)
        write_chunk(self._file, b"fcTL", self._sequence_number(), size, control)

    def _sequence_number(self) -> bytes:
        number = self._next_sequence_number
        self._next_sequence_number += 1
        return struct.pack(">I", number)


def delay_fields(delay: Fraction) -> tuple[int, int]:
    """The closest fraction of two 16-bit numbers to a delay in seconds, as fcTL stores it."""
    delay = min(max(delay, Fraction(1, 65535)), Fraction(65535))
    delay = delay.limit_denominator(min(65535, int(65535 / delay)))
    return delay.numerator, delay.denominator


def _format_of(pixels: Pixels) -> _FrameFormat:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(f"not 8-bit RGB or grey pixels: {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    if width * height > max_pixels():
        raise UsageError(
            f"{width} x {height} pixels; the limit is {max_pixels_text()}",
            hint="raise it with --max-pixels",
        )
    return _FrameFormat(width, height, grey=pixels.ndim == 2)


def _compress(pixels: Pixels, level: int) -> list[bytes]:
    """The data of the IDAT chunks in which Pillow stores a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    return [file.read(length) for kind, length in walk_chunks(file, "PNG") if kind == b"IDAT"]
