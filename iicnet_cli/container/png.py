"""Writing and reading an embedding: one still or animated PNG with its header."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TYPE_CHECKING

import numpy as np

from iicnet_cli.container.header import MAX_PIXELS, Header
from iicnet_cli.errors import (
    ContainerError,
    DamagedError,
    MediaError,
    NotAnEmbeddingError,
    UsageError,
)
from iicnet_cli.payload.mark import Mark, read_mark
from iicnet_cli.pictures.arrays import Pixels

if TYPE_CHECKING:  # reading a header does without Pillow
    from PIL import Image

KEYWORD = b"iicnet"
MAX_HEADER_BYTES = 16 * 2**20
"""Largest header that is read, in bytes after decompression."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FULL_COPY = "get the original file again: copy or download it as a file, not as a preview"


def hash_frame(digest: hashlib._Hash, pixels: Pixels) -> None:
    """Add a frame to a SHA-256: height, width and channels as big-endian u32, then the samples."""
    height, width = pixels.shape[:2]
    digest.update(struct.pack(">III", height, width, 3 if pixels.ndim == 3 else 1))
    digest.update(np.ascontiguousarray(pixels).data)


# ------------------------------------------------------------------------------- chunks


def _write_chunk(file: IO[bytes], kind: bytes, *parts: bytes) -> None:
    crc = zlib.crc32(kind)
    file.write(struct.pack(">I4s", sum(map(len, parts)), kind))
    for part in parts:
        crc = zlib.crc32(part, crc)
        file.write(part)
    file.write(struct.pack(">I", crc))


def _walk_chunks(file: IO[bytes], label: str) -> Iterator[tuple[bytes, int]]:
    """(kind, length) of every chunk through IEND, the file standing at the chunk's data."""
    position = len(_SIGNATURE)
    while True:
        file.seek(position)
        start = file.read(8)
        if len(start) < 8:
            raise DamagedError(f"{label}: the PNG file is cut off", hint=_FULL_COPY)
        length, kind = struct.unpack(">I4s", start)
        if not kind.isalpha() or length >= 2**31:
            raise DamagedError(f"{label}: the PNG file is damaged", hint=_FULL_COPY)
        yield kind, length
        if kind == b"IEND":
            return
        position += 12 + length


def _read_chunk(file: IO[bytes], kind: bytes, length: int, label: str) -> bytes:
    data, crc = file.read(length), file.read(4)
    if len(data) < length or len(crc) < 4:
        raise DamagedError(f"{label}: the PNG file is cut off", hint=_FULL_COPY)
    if zlib.crc32(data, zlib.crc32(kind)) != int.from_bytes(crc, "big"):
        raise DamagedError(f"{label}: the {kind.decode()} chunk is damaged", hint=_FULL_COPY)
    return data


def _header_text(kind: bytes, data: bytes, label: str) -> bytes:
    """The text of an iTXt chunk, or of a tEXt or zTXt chunk that another tool made of it."""
    text = data[len(KEYWORD) + 1 :]
    compressed = kind == b"zTXt"
    if compressed:
        text = text[1:]
    elif kind == b"iTXt":
        compressed = text[:1] == b"\x01"
        text = text[2:].split(b"\0", 2)[-1]  # past the language and the translated keyword
    if compressed:
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(text, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise DamagedError(f"{label}: the iicnet header is damaged") from error
        if not unpacker.eof:
            raise DamagedError(f"{label}: the iicnet header is cut off or too large")
    return text


def _foreign_format(start: bytes) -> str:
    """Name of the format that a file's first bytes tell, or "" when unknown."""
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        if brand in (b"avif", b"avis"):
            return "AVIF"
        return "HEIC" if brand[:3] in (b"hei", b"hev", b"mif", b"msf") else "MP4 or QuickTime"
    if start[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "AVI"}.get(start[8:12], "RIFF")
    for magic, name in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
        (b"%PDF", "PDF"),
        (b"PK\x03\x04", "ZIP"),
    ):
        if start.startswith(magic):
            return name
    return ""


def _scan(file: IO[bytes], label: str) -> Header | None:
    """Check the file's frame of chunks from start to end and read the header if there is one."""
    file.seek(0)
    start = file.read(16)
    if not start.startswith(_SIGNATURE):
        if not start:
            raise NotAnEmbeddingError(f"{label}: the file is empty")
        found = _foreign_format(start)
        if found in ("JPEG", "WebP", "GIF", "AVIF", "HEIC", "JPEG XL", "BMP", "TIFF"):
            raise NotAnEmbeddingError(
                f"{label}: not a PNG file but {found}",
                hint="saving a picture in another format loses the embedded content; "
                "get the original PNG",
            )
        raise NotAnEmbeddingError(
            f"{label}: not a PNG file" + (f" but {found}" if found else ""),
            hint="give a PNG file that iicnet wrote",
        )
    text: bytes | None = None
    first = True
    for kind, length in _walk_chunks(file, label):
        if first:
            if kind != b"IHDR" or length != 13:
                raise DamagedError(f"{label}: the PNG file is damaged", hint=_FULL_COPY)
            width, height = struct.unpack(">II", _read_chunk(file, kind, length, label)[:8])
            if width * height > MAX_PIXELS:
                raise ContainerError(
                    f"{label}: {width} x {height} pixels; "
                    f"the limit is {MAX_PIXELS // 10**6} megapixels"
                )
            first = False
        elif text is None and kind in (b"iTXt", b"tEXt", b"zTXt") and length > len(KEYWORD):
            keyword = file.read(len(KEYWORD) + 1)
            if keyword != KEYWORD + b"\0":
                continue
            if length > MAX_HEADER_BYTES:
                raise DamagedError(f"{label}: the iicnet header is too large")
            file.seek(-len(keyword), os.SEEK_CUR)
            text = _header_text(kind, _read_chunk(file, kind, length, label), label)
    return None if text is None else Header.from_json(text)


# ------------------------------------------------------------------------------ reading

PathOrFile = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file, which need not be able to seek (a pipe)."""


@contextmanager
def _open_input(source: PathOrFile) -> Iterator[tuple[IO[bytes], str]]:
    """A seekable file and what to call it in messages; files of the caller stay open."""
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            label = os.fspath(source)
            try:
                file: IO[bytes] = stack.enter_context(open(label, "rb"))
            except OSError as error:
                raise MediaError(f"{label}: {error.strerror or error}") from error
        else:
            file, label = source, str(getattr(source, "name", "input"))
        if not file.seekable():
            copy = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(file, copy)
            file = copy
        yield file, label


def read_header(source: PathOrFile) -> Header | None:
    """The header of a PNG, without decoding pixels; None when the file has none.

    Raises ``NotAnEmbeddingError`` when it is no PNG, ``DamagedError`` when the file is cut off or
    the header is unusable, ``UnsupportedVersionError`` when a newer major version wrote it, and
    ``MediaError`` when it cannot be opened.
    """
    with _open_input(source) as (file, label):
        return _scan(file, label)


class EmbeddingReader:
    """Reads the frames of an embedding PNG, one at a time.

    ::

        with EmbeddingReader("trip.png") as reader:
            for pixels in reader:  # uint8, (H, W, 3) or (H, W), exactly as written
                ...

    PNGs that other tools saved again are read too: 16-bit samples keep their high byte, palettes
    are resolved, alpha is dropped. Every frame has the shape of the first one.

    Raises what ``read_header`` raises, and ``ContainerError`` above ``MAX_PIXELS``; while reading
    frames, ``DamagedError``.
    """

    header: Header | None
    """What the file says of itself, None when its chunks were stripped."""
    mark: Mark | None
    """The mark in the pixels of the first frame, None when there is none."""
    n_frames: int
    """Number of frames (embedding pictures), 1 or more."""
    size: tuple[int, int]
    """Width and height in pixels."""

    def __init__(self, source: PathOrFile) -> None:
        from PIL.PngImagePlugin import PngImageFile

        with ExitStack() as stack:
            file, self._label = stack.enter_context(_open_input(source))
            self.header = _scan(file, self._label)
            file.seek(0)
            try:
                # Not Image.open: it has a lower, global limit, and _scan has checked ours.
                self._image = stack.enter_context(PngImageFile(file))
            except (OSError, SyntaxError, ValueError) as error:
                raise self._damaged() from error
            self.n_frames = self._image.n_frames
            self.size = self._image.size
            self._grey: bool | None = None
            first = self._frame(0)
            if first.ndim == 3 and _equal_channels(first):
                # Grey that a tool saved as RGB: the mark in an RGB picture makes channels differ.
                self.mark = read_mark(first[:, :, 0])
                self._grey = self.mark is not None
            else:
                self.mark = read_mark(first)
                self._grey = first.ndim == 2
            self._stack = stack.pop_all()

    def __enter__(self) -> EmbeddingReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._stack.close()

    def __len__(self) -> int:
        return self.n_frames

    def __iter__(self) -> Iterator[Pixels]:
        """Every frame in order, from the first one."""
        for index in range(self.n_frames):
            yield self._frame(index)

    def verify(self) -> bool | None:
        """Whether the pixels are those that were written; None without a hash to compare with."""
        if self.header is None or not self.header.pixels_sha256:
            return None
        digest = hashlib.sha256()
        for pixels in self:
            hash_frame(digest, pixels)
        return digest.hexdigest() == self.header.pixels_sha256

    def _frame(self, index: int) -> Pixels:
        try:
            self._image.seek(index)
            self._image.load()
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error) as error:
            raise self._damaged() from error
        return _to_pixels(self._image, self._grey)

    def _damaged(self) -> DamagedError:
        return DamagedError(f"{self._label}: the picture data is damaged", hint=_FULL_COPY)


def _equal_channels(pixels: Pixels) -> bool:
    red, green, blue = np.moveaxis(pixels, 2, 0)
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _to_pixels(image: Image.Image, grey: bool | None) -> Pixels:
    """8-bit pixels of a decoded PNG, grey or RGB as asked or, for None, as the picture is."""
    if image.mode.startswith("I"):
        # The high byte is right for both ways to widen 8 bits, x257 and x256; convert() clips.
        pixels = (np.asarray(image) >> 8).astype(np.uint8)
    elif image.mode in ("1", "L", "LA"):
        pixels = np.array(image.convert("L"))
    else:
        pixels = np.array(image.convert("RGB"))
        if grey or (grey is None and image.mode == "P" and _equal_channels(pixels)):
            pixels = pixels[:, :, 0].copy()
    if grey is False and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels


# ------------------------------------------------------------------------------ writing


@dataclass(frozen=True)
class _Layout:
    """IHDR's fields that every frame of one file shares."""

    width: int
    height: int
    grey: bool


def _delay_fields(delay: Fraction) -> tuple[int, int]:
    """The closest fraction of two 16-bit numbers, as animated PNG stores seconds."""
    delay = min(max(delay, Fraction(1, 65535)), Fraction(65535))
    delay = delay.limit_denominator(min(65535, int(65535 / delay)))
    return delay.numerator, delay.denominator


class EmbeddingWriter:
    """Writes an embedding PNG, frame by frame, in the memory of one frame.

    One frame makes a plain PNG; more make an animated PNG whose first frame any viewer shows::

        with open("trip.png", "w+b") as file:
            writer = EmbeddingWriter(file, frame_delay=Fraction(1001, 6000))
            writer.add(pixels)  # uint8, (H, W, 3) or (H, W); as often as there are groups
            header = writer.finish(header)

    ``file`` is binary, empty and can seek; it stays the caller's, who closes it. It holds a whole
    PNG only after ``finish``. ``frame_delay`` is the time that a viewer shows each frame, in
    seconds (default 1); ``compress_level`` is zlib's, 0 to 9.

    Raises ``ValueError`` when ``file`` cannot seek or ``frame_delay`` is not above 0; ``add`` and
    ``finish`` pass on the ``OSError`` of a file that cannot be written.
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
        self._delay = _delay_fields(frame_delay if frame_delay is not None else Fraction(1))
        self._level = compress_level
        self._digest = hashlib.sha256()
        self._layout: _Layout | None = None
        self._first: list[bytes] = []
        self._frames = 0
        self._sequence = 0
        self._actl_at = 0

    def add(self, pixels: Pixels) -> None:
        """Append a frame: uint8 of shape (H, W, 3) or (H, W), the same for all frames.

        Raises ``ValueError`` for other arrays and ``UsageError`` above ``MAX_PIXELS``.
        """
        if (
            pixels.dtype != np.uint8
            or pixels.ndim not in (2, 3)
            or pixels.shape[2:] not in ((), (3,))
        ):
            raise ValueError(f"not 8-bit RGB or grey pixels: {pixels.dtype} {pixels.shape}")
        height, width = pixels.shape[:2]
        layout = _Layout(width, height, grey=pixels.ndim == 2)
        if width * height > MAX_PIXELS:
            raise UsageError(
                f"{width} x {height} pixels; the limit is {MAX_PIXELS // 10**6} megapixels"
            )
        if self._layout is not None and layout != self._layout:
            raise ValueError(f"a frame differs from the first: {layout}, {self._layout}")

        self._layout = layout
        hash_frame(self._digest, pixels)
        data = _compress(pixels, self._level)
        self._frames += 1
        if self._frames == 1:
            self._first = data  # held back: only a second frame makes the file an animation
            return
        if self._frames == 2:
            self._write_first(animated=True)
        self._write_frame_control()
        for part in data:
            _write_chunk(self._file, b"fdAT", self._next_sequence(), part)

    def finish(self, header: Header) -> Header:
        """Write what is left, the header last; returns ``header`` with ``pixels_sha256`` set.

        Raises ``ValueError`` when no frame was added, ``UsageError`` when the header is too large.
        """
        if not self._frames:
            raise ValueError("an embedding needs at least one frame")
        if self._frames == 1:
            self._write_first(animated=False)
        header = header.model_copy(update={"pixels_sha256": self._digest.hexdigest()})
        text = header.to_json().encode("ascii")
        if len(text) > MAX_HEADER_BYTES:
            raise UsageError("the header is too large: too many frames with timestamps")
        # Zeros: not compressed (Pillow refuses compressed text above 1 MiB), no language.
        _write_chunk(self._file, b"iTXt", KEYWORD, bytes(5), text)
        _write_chunk(self._file, b"IEND")
        if self._frames > 1:
            self._file.seek(self._actl_at)
            _write_chunk(self._file, b"acTL", struct.pack(">II", self._frames, 0))
            self._file.seek(0, os.SEEK_END)
        return header

    def _write_first(self, *, animated: bool) -> None:
        assert self._layout is not None
        colour = 0 if self._layout.grey else 2
        self._file.write(_SIGNATURE)
        size = struct.pack(">II", self._layout.width, self._layout.height)
        _write_chunk(self._file, b"IHDR", size, bytes([8, colour, 0, 0, 0]))
        _write_chunk(self._file, b"sRGB", b"\0")
        if animated:
            self._actl_at = self._file.tell()
            _write_chunk(self._file, b"acTL", bytes(8))  # finish() knows the number of frames
            self._write_frame_control()
        for part in self._first:
            _write_chunk(self._file, b"IDAT", part)
        self._first = []

    def _write_frame_control(self) -> None:
        assert self._layout is not None
        size = struct.pack(">IIII", self._layout.width, self._layout.height, 0, 0)
        # The last two bytes: leave the frame in place, and replace what it covers.
        control = struct.pack(">HHBB", *self._delay, 0, 0)
        _write_chunk(self._file, b"fcTL", self._next_sequence(), size, control)

    def _next_sequence(self) -> bytes:
        number = self._sequence
        self._sequence += 1
        return struct.pack(">I", number)


def _compress(pixels: Pixels, level: int) -> list[bytes]:
    """The contents of the IDAT chunks in which Pillow stores a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=level)
    return [file.read(length) for kind, length in _walk_chunks(file, "PNG") if kind == b"IDAT"]
