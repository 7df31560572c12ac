"""Opening and decoding pictures with Pillow, with our size limit and one-line errors."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import CODES_KEY, NOTES_KEY
from iicnet_cli.media.signalled_colour import read_colour_codes
from iicnet_cli.media.suffixes import (
    HEIC_BRANDS,
    HEIF_SUFFIXES,
    RAW_SUFFIXES,
    VECTOR_SUFFIXES,
    VIDEO_SUFFIXES,
)
from iicnet_cli.pictures.limits import (
    MOST_JPEG_PIXELS_PER_BYTE,
    max_pixels,
    max_pixels_text,
    without_pillow_limits,
)

_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
"""Markers in JPEG files; a byte of 255 in a scan is followed by a zero."""
_MOST_PIXELS_PER_BYTE = 8 * 1032
"""Pixels that a byte of a PNG can make: deflate packs at most 1032 bytes into one."""
_MAX_WEBP_SIDE = 16383
"""Pixels of a frame of a WebP on each axis; the canvas of an animation may claim more."""
_USUAL_JPEG_PIXELS_PER_BYTE = 32
"""A byte of a photo makes fewer pixels than this; if it makes more, some may be missing."""
_FILLERS = (bytes(64), b"\x55" * 64)
"""Two sequences of codes that make different pictures where codes are missing."""


@contextmanager
def open_image(source: Path | BinaryIO) -> Iterator[tuple[Image.Image, str]]:
    """Open a picture with Pillow; only its header has been read.

    Args:
        source: a file, or a binary stream (read to its end; it need not be seekable).

    Yields:
        The image and the base name of the source.

    Raises:
        MediaError: the source is missing, a folder, unreadable, too large, or of a kind
            that must be converted first (HEIC without pillow-heif, RAW, vector graphics).
    """
    name, suffix = _name_and_suffix(source)
    _refuse_unsupported(name, suffix)
    note = ""
    with ExitStack() as stack:
        try:
            # Never open by path: Pillow then maps some TIFFs into memory and rotates them wrongly.
            file: BinaryIO = (
                source.open("rb") if isinstance(source, Path) else io.BytesIO(source.read())
            )
            stack.enter_context(file)
            suffix = _prepare_for(file, suffix)
            if _lacks_jpeg_end(file):
                file, note = stack.enter_context(_with_jpeg_end(file)), "its end is missing"
            with without_pillow_limits():
                image = stack.enter_context(Image.open(file))
        except UnidentifiedImageError as error:
            raise MediaError(
                f"{name}: not a picture that can be read", hint=_hint(suffix)
            ) from error
        except OSError as error:
            raise MediaError(f"{name}: cannot be read ({error.strerror or error})") from error
        except Exception as error:  # Pillow's plugins raise nearly anything on damaged headers
            raise MediaError(f"{name}: damaged picture ({error})") from error
        width, height = image.size
        if width * height > max_pixels():
            raise MediaError(
                f"{name}: {width}x{height} is more than {max_pixels_text()}",
                hint="make it smaller first, or raise the limit with --max-pixels",
            )
        if image.format == "WEBP" and max(width, height) > _MAX_WEBP_SIDE:
            raise MediaError(f"{name}: truncated or damaged (no WebP is {width}x{height})")
        if _is_short(image, file):
            raise MediaError(f"{name}: truncated or damaged (it has too few bytes for its size)")
        if image.format in ("EPS", "WMF"):
            raise _vector_graphics(name)
        refuse_missing_strips(image, name)
        keep_colour_codes(image, file)
        if note:
            image.info[NOTES_KEY] = (note,)
        yield image, name


def refuse_missing_strips(image: Image.Image, name: str) -> None:
    """Refuse a page of a TIFF whose data do not reach its end; its memory would be taken.

    Raises:
        MediaError: the page is damaged.
    """
    tiles = getattr(image, "tile", None)
    if image.format != "TIFF" or not tiles:
        return
    # Pillow gives the size of a rotated page as it will be, but its tiles as they are.
    rights, bottoms = zip(*(extents[2:] for _, extents, *_ in tiles), strict=True)
    if max(rights) * max(bottoms) < image.width * image.height:
        raise MediaError(f"{name}: truncated or damaged (it has {max(bottoms)} rows of data only)")


def _is_short(image: Image.Image, file: BinaryIO) -> bool:
    """Whether a PNG or a JPEG lacks data for its pixels, as far as that can be told fast."""
    pixels, size = image.width * image.height, _size_of(file)
    if image.format == "PNG":
        return pixels > _MOST_PIXELS_PER_BYTE * size
    if image.format != "JPEG" or pixels <= _USUAL_JPEG_PIXELS_PER_BYTE * size:
        return False
    if pixels > MOST_JPEG_PIXELS_PER_BYTE * size:
        return True
    position = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(position)
    return not _has_all_codes(data[: data.rfind(_JPEG_END)])


def _size_of(file: BinaryIO) -> int:
    """Bytes of a file; its position is kept."""
    position = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(position)
    return size


def keep_colour_codes(image: Image.Image, file: BinaryIO) -> None:
    """Keep what a PNG, AVIF or HEIF file says of its colours, for `to_srgb`; Pillow does not."""
    if image.format in ("PNG", "AVIF", "HEIF"):
        codes = read_colour_codes(file)
        if codes is not None:
            image.info[CODES_KEY] = codes, image.format == "PNG"


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever Pillow's decoders raise in this block into a `MediaError` of one line.

    Args:
        name: base name of the picture, for the message.

    Raises:
        MediaError: the picture is damaged, or the memory does not suffice.
    """
    try:
        # Some decoders check Pillow's own limit again.
        with without_pillow_limits():
            yield
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(f"{name}: not enough memory to decode it") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged data
        raise MediaError(
            f"{name}: truncated or damaged ({error})", hint="copy or download it again"
        ) from error


def _name_and_suffix(source: Path | BinaryIO) -> tuple[str, str]:
    if isinstance(source, Path):
        if source.is_dir():
            raise MediaError(f"{source}: is a folder, not a picture")
        if not source.exists():
            raise MediaError(f"{source}: no such file")
        return source.name, source.suffix.lower()
    stream_name = getattr(source, "name", "")
    name = Path(stream_name).name.strip("<>") if isinstance(stream_name, str) else ""
    return name or "stream", Path(name).suffix.lower()


def _refuse_unsupported(name: str, suffix: str) -> None:
    # Pillow would open the small preview of a RAW file, and start Ghostscript for an EPS.
    if suffix in RAW_SUFFIXES:
        raise MediaError(f"{name}: camera RAW cannot be read", hint="develop it to TIFF or JPEG")
    if suffix in VECTOR_SUFFIXES:
        raise _vector_graphics(name)


def _prepare_for(file: BinaryIO, suffix: str) -> str:
    """Get ready for what the first bytes of a file say that it is; return the suffix of that."""
    start = file.read(12)
    file.seek(0)
    if start[4:8] != b"ftyp" or start[8:12] not in HEIC_BRANDS:
        return suffix
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    return ".heic"


def _lacks_jpeg_end(file: BinaryIO) -> bool:
    """Whether a JPEG has all codes of its picture, but not the marker of its end behind them."""
    is_jpeg = file.read(3) == b"\xff\xd8\xff"
    file.seek(0)
    if not is_jpeg:
        return False
    data = file.read()
    file.seek(0)
    if data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN):
        return False
    return _has_all_codes(data)


def _has_all_codes(data: bytes) -> bool:
    """Whether a JPEG that was cut before the marker of its end has the codes of all its pixels.

    If it has, its picture does not depend on what follows. ``False`` for an MPO, too, of whose
    pictures the first alone would be compared.
    """
    pictures = set()
    try:
        for filler in _FILLERS:
            with (
                without_pillow_limits(),
                Image.open(io.BytesIO(data + filler + _JPEG_END)) as image,
            ):
                if image.format != "JPEG" or image.width * image.height > max_pixels():
                    return False
                pictures.add(hash(image.tobytes()))
    except Exception:  # the real attempt to open it will tell
        return False
    return len(pictures) == 1


def _with_jpeg_end(file: BinaryIO) -> BinaryIO:
    return io.BytesIO(file.read() + _JPEG_END)


def _vector_graphics(name: str) -> MediaError:
    return MediaError(f"{name}: vector graphics cannot be read", hint="export it as PNG first")


def _hint(suffix: str) -> str:
    if suffix in HEIF_SUFFIXES:
        return "convert HEIC to JPEG or PNG, or: pip install pillow-heif"
    if suffix in VIDEO_SUFFIXES:
        return "this is a clip, not a still"
    return "PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF can be read"
