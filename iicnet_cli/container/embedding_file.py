"""Reading the file of an embedding: the header of a PNG alone; its frames; or the one picture of
what services make of it, a JPEG or WebP, which has no header.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from iicnet_cli.container.chunks import (
    FULL_COPY_HINT,
    HEADER_KEYWORD,
    PNG_SIGNATURE,
    read_chunk,
    walk_chunks,
)
from iicnet_cli.container.frame_hash import hash_frame
from iicnet_cli.container.header import MAX_HEADER_BYTES, Header
from iicnet_cli.errors import ContainerError, DamagedError, MediaError, NotAnEmbeddingError
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import (
    MAX_LOSSY_PIXELS,
    MAX_LOSSY_SIDE,
    MOST_JPEG_PIXELS_PER_BYTE,
    max_pixels,
    max_pixels_text,
    without_pillow_limits,
)

if TYPE_CHECKING:  # a header can be read without Pillow
    from PIL import Image
    from PIL.ImageFile import ImageFile

PathOrFile = str | os.PathLike[str] | IO[bytes]
"""A path, or a binary file, which need not be able to seek (a pipe)."""

_PICTURE_FORMATS = ("JPEG", "WebP", "GIF", "AVIF", "HEIC", "JPEG XL", "BMP", "TIFF")
"""A header is lost when an embedding is saved again in one of these formats."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of the colour types of PNG."""
_HIGHEST_COMPRESSION = 1032
"""Deflate makes data at most so many times as short."""
_LOSSY_FORMATS = ("JPEG", "WebP")
"""Embeddings may arrive in these formats."""

_MAGIC_BYTES = (
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
)


def read_header(source: PathOrFile) -> Header | None:
    """Read the header of a PNG without decoding pixels.

    Returns:
        ``None`` if the PNG has no header of an embedding.

    Raises:
        NotAnEmbeddingError: it is no PNG.
        DamagedError: the file is cut off, or its header is unusable.
        UnsupportedVersionError: a newer major version wrote it.
        ContainerError: it has more pixels than ``max_pixels`` allows.
        MediaError: it cannot be opened.
    """
    with _open_input(source) as (file, label):
        return _scan(file, label)


class EmbeddingFile:
    """The file of an embedding, opened for reading: the frames of a PNG, one at a time, or the
    picture of a JPEG or WebP.

    ::

        with EmbeddingFile("trip.png") as file:
            for pixels in file:  # uint8, (H, W, 3) or (H, W), exactly as written
                ...

    PNGs that other tools saved again are read too: 16-bit samples keep their high byte, palettes
    are resolved, alpha is dropped.

    Raises:
        DamagedError: also while frames are read; for the rest see :func:`read_header`.
    """

    header: Header | None
    """What the file says about itself; ``None`` if its chunks were stripped."""
    is_png: bool
    """Whether it is a PNG, not a JPEG or WebP."""
    n_frames: int
    """Number of frames (embedding pictures), 1 or more."""
    size: tuple[int, int]
    """Width and height in pixels."""
    grey: bool
    """Whether frames are given as grey (H, W) or as RGB (H, W, 3). It is at first what the first
    frame is, and may be set."""

    def __init__(self, source: PathOrFile) -> None:
        with ExitStack() as stack:
            file, self._label = stack.enter_context(_open_input(source))
            file.seek(0)
            start = file.read(16)
            format_name = _format_name(start)
            self.is_png = format_name not in _LOSSY_FORMATS
            self.header = _scan(file, self._label) if self.is_png else None
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            try:
                with without_pillow_limits():
                    self._image = stack.enter_context(_image_file(file, format_name))
            except (OSError, SyntaxError, ValueError, OverflowError) as error:
                raise self._damaged() from error
            self.size = self._image.size
            _check_pixel_count(*self.size, self._label)
            if not self.is_png:
                _check_lossy_size(*self.size, self._label)
            if format_name == "JPEG" and math.prod(self.size) > MOST_JPEG_PIXELS_PER_BYTE * length:
                raise self._damaged()
            self.n_frames = getattr(self._image, "n_frames", 1) if self.is_png else 1
            self._load(0)
            self.grey = _is_grey(self._image)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
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
            yield self.read_frame(index)

    def read_frame(self, index: int) -> Pixels:
        """Decode one frame, (H, W) or (H, W, 3) uint8."""
        self._load(index)
        return _to_pixels(self._image, self.grey)

    def verify(self) -> bool | None:
        """Whether the pixels are those that were written; ``None`` if there is no hash of them."""
        if self.header is None or not self.header.pixels_sha256:
            return None
        digest = hashlib.sha256()
        for pixels in self:
            hash_frame(digest, pixels)
        return digest.hexdigest() == self.header.pixels_sha256

    def _load(self, index: int) -> None:
        try:
            with without_pillow_limits():
                self._image.seek(index)
                self._image.load()
        except (OSError, SyntaxError, ValueError, EOFError, OverflowError, zlib.error) as error:
            raise self._damaged() from error

    def _damaged(self) -> DamagedError:
        return DamagedError(f"{self._label}: the picture data is damaged", hint=FULL_COPY_HINT)


def _check_lossy_size(width: int, height: int, label: str) -> None:
    """Refuse a JPEG or WebP that is too large to hold something."""
    if max(width, height) > MAX_LOSSY_SIDE or width * height > MAX_LOSSY_PIXELS:
        raise NotAnEmbeddingError(
            f"{label}: no JPEG or WebP that holds something has {width}x{height} pixels"
        )


def has_equal_channels(pixels: Pixels) -> bool:
    """Whether the three channels of an RGB picture are equal."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    return np.array_equal(red, green) and np.array_equal(red, blue)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        return has_equal_channels(np.asarray(image.convert("RGB")))
    return image.mode.startswith("I") or image.mode in ("1", "L", "LA")


def _to_pixels(image: Image.Image, grey: bool) -> Pixels:
    if image.mode.startswith("I"):
        # The high byte is right for both ways to widen 8 bits, x257 and x256; convert() clips.
        pixels = (np.asarray(image) >> 8).astype(np.uint8)
    elif image.mode in ("1", "L", "LA"):
        pixels = np.array(image.convert("L"))
    else:
        pixels = np.array(image.convert("RGB"))
        if grey:
            pixels = pixels[:, :, 0].copy()
    if not grey and pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return pixels


def _image_file(file: IO[bytes], format_name: str) -> ImageFile:
    """A picture of which only the start has been read.

    Not ``Image.open``: it has a lower, global limit of pixels than ours.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    classes = {"JPEG": JpegImageFile, "WebP": WebPImageFile}
    return classes.get(format_name, PngImageFile)(file)


@contextmanager
def _open_input(source: PathOrFile) -> Iterator[tuple[IO[bytes], str]]:
    """A seekable file, and what to call it in messages. Files of the caller stay open."""
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            label = os.fspath(source)
            path = Path(label)
            if path.exists() and not (path.is_file() or path.is_dir()):
                # Opening a pipe waits until somebody writes into it.
                raise MediaError(f"{label}: is no regular file", hint="give - to read from a pipe")
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


def _scan(file: IO[bytes], label: str) -> Header | None:
    """Check the chunks of a file from start to end, and read the header if there is one."""
    file.seek(0)
    start = file.read(16)
    if not start.startswith(PNG_SIGNATURE):
        raise _not_a_png(start, label)
    text: bytes | None = None
    least_data, data = None, 0
    for kind, length in walk_chunks(file, label):
        data += length if kind in (b"IDAT", b"fdAT") else 0
        if least_data is None:
            least_data = _check_size(file, kind, length, label)
        elif kind == b"IHDR":  # a decoder would take its size instead of that which was checked
            raise DamagedError(f"{label}: the PNG file is damaged", hint=FULL_COPY_HINT)
        elif text is None and kind in (b"iTXt", b"tEXt", b"zTXt") and length > len(HEADER_KEYWORD):
            keyword = file.read(len(HEADER_KEYWORD) + 1)
            if keyword != HEADER_KEYWORD + b"\0":
                continue
            if length > MAX_HEADER_BYTES:
                raise DamagedError(f"{label}: the iicnet header is too large")
            file.seek(-len(keyword), os.SEEK_CUR)
            text = _header_text(kind, read_chunk(file, kind, length, label), label)
    if data < (least_data or 0):
        raise DamagedError(
            f"{label}: the PNG file is damaged: it is too short for the pixels that it states",
            hint=FULL_COPY_HINT,
        )
    return None if text is None else Header.from_json(text)


def _check_size(file: IO[bytes], kind: bytes, length: int, label: str) -> int:
    """Check the first chunk of a PNG, and the size of the picture that it states.

    Returns:
        The bytes that so many pixels take at least, compressed.
    """
    if kind != b"IHDR" or length != 13:
        raise DamagedError(f"{label}: the PNG file is damaged", hint=FULL_COPY_HINT)
    fields: tuple[int, ...] = struct.unpack_from(">IIBB", read_chunk(file, kind, length, label))
    width, height, depth, colour = fields
    _check_pixel_count(width, height, label)
    row = -(-width * depth * _CHANNELS.get(colour, 1) // 8)
    return height * row // _HIGHEST_COMPRESSION


def _check_pixel_count(width: int, height: int, label: str) -> None:
    if width * height > max_pixels():
        raise ContainerError(
            f"{label}: {width} x {height} pixels; the limit is {max_pixels_text()}",
            hint="raise it with --max-pixels",
        )


def _header_text(kind: bytes, data: bytes, label: str) -> bytes:
    """The text of an iTXt chunk, or of a tEXt or zTXt chunk that another tool made of it."""
    text = data[len(HEADER_KEYWORD) + 1 :]
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


def _not_a_png(start: bytes, label: str) -> NotAnEmbeddingError:
    """The error for a file that begins with these bytes instead of a PNG signature."""
    if not start:
        return NotAnEmbeddingError(f"{label}: the file is empty")
    found = _format_name(start)
    if found in _PICTURE_FORMATS:
        return NotAnEmbeddingError(
            f"{label}: not a PNG file but {found}",
            hint="saving a picture in another format loses its header, and mostly what it holds; "
            "get the original file",
        )
    return NotAnEmbeddingError(
        f"{label}: not a PNG file" + (f" but {found}" if found else ""),
        hint="give a picture that iicnet wrote, or a JPEG or WebP that was made of one",
    )


def _format_name(start: bytes) -> str:
    """Name of the format of a file that begins with these bytes, or "" if unknown."""
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        if brand in (b"avif", b"avis"):
            return "AVIF"
        return "HEIC" if brand[:3] in (b"hei", b"hev", b"mif", b"msf") else "MP4 or QuickTime"
    if start[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "AVI"}.get(start[8:12], "RIFF")
    return next((name for magic, name in _MAGIC_BYTES if start.startswith(magic)), "")
