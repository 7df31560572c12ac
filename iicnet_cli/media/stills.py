"""Reading and writing single pictures; every conversion to 8-bit sRGB is reported in a note."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.colour import WHITE, Colour, exif_orientation, to_srgb, to_srgb_with_alpha
from iicnet_cli.media.files import replacing
from iicnet_cli.media.pillow_files import decoding, open_image
from iicnet_cli.pictures.arrays import Pixels

_WRITTEN_FORMATS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".avif": "AVIF",
}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    # Pillow's default, 6, takes two to three times as long for files that are 0 to 7 % smaller.
    "PNG": {"compress_level": 3},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_deflate"},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


@dataclass(frozen=True)
class Still:
    """A picture that was read.

    Attributes:
        pixels: uint8 sRGB, 0 to 255, upright: (H, W, 3), or (H, W, 4) with straight alpha.
        name: base name of the source.
        notes: one short sentence for each conversion that changed something.
    """

    pixels: Pixels
    name: str
    notes: tuple[str, ...]


def read_still(source: Path | BinaryIO, *, background: Colour = WHITE) -> Still:
    """Read a picture of any format that Pillow knows as upright 8-bit sRGB.

    EXIF orientation is applied, 16-bit values are scaled, palettes and grey are expanded,
    transparency is composited on ``background``, and CMYK and wide-gamut profiles are converted.
    Of an animation or a stereo MPO, the first picture is read.

    Args:
        source: a file, or a binary stream (read to its end; it need not be seekable).
        background: sRGB colour behind transparent pixels.

    Returns:
        The picture; its pixels are (H, W, 3).

    Raises:
        MediaError: the source is missing, a folder, unreadable, truncated, too large, or
            of a kind that must be converted first (HEIC without pillow-heif, RAW, SVG).
    """
    with open_image(source) as (image, name):
        notes: list[str] = []
        with decoding(name):
            pages = int(getattr(image, "n_frames", 1))
            if pages > 1:
                kind = "picture" if image.format in ("MPO", "TIFF") else "frame"
                notes.append(f"only the first {kind} of {pages} is used")
            pixels = to_srgb(image, notes, background=background)
    return Still(pixels, name, tuple(notes))


def read_still_with_alpha(source: Path) -> Still:
    """Read a picture like `read_still`, but keep its transparency.

    Returns:
        The picture; its pixels are (H, W, 4), and opaque ones have an alpha of 255.

    Raises:
        MediaError: as `read_still`.
    """
    with open_image(source) as (image, name):
        notes: list[str] = []
        with decoding(name):
            pixels = to_srgb_with_alpha(image, notes)
    return Still(pixels, name, tuple(notes))


def has_alpha(source: Path) -> bool:
    """Return whether a picture has pixels that are not opaque; false if it cannot be read."""
    try:
        with open_image(source) as (image, name), decoding(name):
            if "A" not in image.getbands() and "transparency" not in image.info:
                return False
            return bool((to_srgb_with_alpha(image, [])[..., 3] < 255).any())
    except MediaError:
        return False


def still_size(source: Path) -> tuple[int, int]:
    """Return width and height in pixels as displayed; only the file's header is read.

    Raises:
        MediaError: as `read_still`, except for damage behind the header.
    """
    with open_image(source) as (image, _):
        width, height = image.size
        # Pillow itself swaps the sides of a TIFF.
        on_its_side = exif_orientation(image) in (5, 6, 7, 8) and image.format != "TIFF"
    return (height, width) if on_its_side else (width, height)


def write_still(
    target: Path | BinaryIO,
    pixels: Pixels,
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a picture; a file appears complete or not at all.

    PNG, WebP (lossless), TIFF and BMP keep exactly these pixels. JPEG and AVIF are lossy
    (quality 95, 4:4:4).

    Args:
        target: a file whose suffix names the format, or a binary stream.
        pixels: uint8 (H, W, 3) sRGB or (H, W) grey, 0 to 255.
        format: a suffix such as "png" that overrides the target's; the default of a stream is PNG.
        overwrite: replace an existing file.

    Raises:
        UsageError: the format is not one of these.
        OutputExistsError: the file exists and ``overwrite`` is false.
        MediaError: the system refuses to write.
        ValueError: ``pixels`` have another shape or type.
    """
    path = target if isinstance(target, Path) else None
    suffix = f".{format.lower().lstrip('.')}" if format else path.suffix.lower() if path else ".png"
    if suffix not in _WRITTEN_FORMATS:
        raise UsageError(
            f"cannot write a picture as '{suffix or path}'",
            hint="use one of " + " ".join(_WRITTEN_FORMATS),
        )
    pillow_format = _WRITTEN_FORMATS[suffix]
    image = Image.fromarray(_check_pixels(pixels))
    options = _SAVE_OPTIONS.get(pillow_format, {})
    if not isinstance(target, Path):
        image.save(target, format=pillow_format, **options)
        return
    with replacing(target, overwrite=overwrite) as temporary:
        try:
            image.save(temporary, format=pillow_format, **options)
        except ValueError as error:  # for example, a side over WebP's 16383 pixels
            raise MediaError(f"{target}: cannot be written as {pillow_format} ({error})") from error


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale the whole picture to ``width`` x ``height`` pixels by Lanczos; nothing is cut off.

    Args:
        pixels: uint8 (H, W, 3), (H, W) or, with straight alpha, (H, W, 4).
        width: pixels, 1 or more.
        height: pixels, 1 or more.

    Returns:
        uint8 (height, width, ...); ``pixels`` itself if it has this size already.

    Raises:
        UsageError: a side is below 1.
        ValueError: ``pixels`` have another shape or type.
    """
    if width < 1 or height < 1:
        raise UsageError(f"cannot resize to {width}x{height}")
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(_check_pixels(pixels, alpha=True))
    resized = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.array(resized, dtype=np.uint8)


def fit_within(pixels: Pixels, longest_side: int | None) -> Pixels:
    """Make a picture smaller, if a side has more pixels than that; ``None`` is any number."""
    height, width = pixels.shape[:2]
    if longest_side is None or max(height, width) <= longest_side:
        return pixels
    return scale_to(pixels, longest_side)


def scale_to(pixels: Pixels, longest_side: int) -> Pixels:
    """Scale a picture, (H, W, 3) or (H, W), so that its longer side has so many pixels."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _check_pixels(pixels: Pixels, *, alpha: bool = False) -> Pixels:
    channels = (3, 4) if alpha else (3,)
    right_shape = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in channels)
    if pixels.dtype != np.uint8 or not right_shape or pixels.size == 0:
        raise ValueError(
            f"pixels must be uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}"
        )
    return np.ascontiguousarray(pixels)
