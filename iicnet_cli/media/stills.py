"""Photos and pictures: everything becomes uint8 sRGB, and every conversion is said."""

from __future__ import annotations

import importlib
import importlib.util
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.files import replacing
from iicnet_cli.pictures.arrays import Pixels

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
MAX_PIXELS = 500_000_000

STILL_SUFFIXES = frozenset(
    (
        ".png .apng .jpg .jpeg .jpe .jfif .mpo .webp .tif .tiff .avif .bmp .dib .gif .ppm "
        ".pgm .pbm .pnm .tga .jp2 .j2k .heic .heif .hif .ico .qoi .psd .jps .pns"
    ).split()
)
VIDEO_SUFFIXES = frozenset(
    (
        ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .3g2 "
        ".ogv .y4m .vob .mxf .h264 .264 .h265 .265 .hevc .ivf .nut .dv .asf .avifs"
    ).split()
)
_HEIF = frozenset({".heic", ".heif", ".hif"})
_RAW = frozenset(
    (".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .dng .raf .orf .rw2 .pef .srw .x3f .3fr").split()
)
_VECTOR = frozenset({".svg", ".svgz", ".pdf", ".eps", ".ps", ".ai", ".wmf", ".emf"})
_FORMATS = {
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
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_deflate"},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True)
class Still:
    """One picture.

    Attributes:
        pixels: uint8 (H, W, 3), sRGB, 0 to 255, upright.
        name: base name of the source.
        notes: one short sentence for each conversion that changed something.
    """

    pixels: Pixels
    name: str
    notes: tuple[str, ...]


def read_still(source: Path | BinaryIO, *, background: Colour = WHITE) -> Still:
    """Read a picture of any format that Pillow knows as upright 8-bit sRGB.

    EXIF orientation is applied, 16-bit values are scaled, palettes and grey are expanded,
    transparency is composited on ``background``, CMYK and wide-gamut profiles are converted;
    of an animation or a stereo MPO the first picture is taken.

    Args:
        source: a file, or a binary stream (read to its end; need not be seekable).
        background: sRGB colour, 0 to 255 each, behind transparent pixels.

    Raises:
        MediaError: missing, a folder, unreadable, truncated, over 500 megapixels, or of a kind
            that must be converted first (HEIC without pillow-heif, RAW, SVG).
    """
    with opened(source) as (image, name):
        pages = int(getattr(image, "n_frames", 1))
        notes: list[str] = []
        if pages > 1:
            what = "picture" if image.format in ("MPO", "TIFF") else "frame"
            notes.append(f"only the first {what} of {pages} is used")
        with decoding(name):
            pixels = to_srgb(image, notes, background=background)
    return Still(pixels, name, tuple(notes))


def read_still_with_alpha(source: Path) -> Still:
    """Like `read_still`, but ``pixels`` are (H, W, 4) with straight alpha; opaque ones get 255.

    Raises:
        MediaError: as `read_still`.
    """
    with opened(source) as (image, name):
        notes: list[str] = []
        with decoding(name):
            pixels = to_srgb_with_alpha(image, notes)
    return Still(pixels, name, tuple(notes))


def has_alpha(source: Path) -> bool:
    """Whether a picture has transparency, and uses it; False for what cannot be read."""
    try:
        with opened(source) as (image, name), decoding(name):
            if "A" not in image.getbands() and "transparency" not in image.info:
                return False
            return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())
    except MediaError:
        return False


def still_size(source: Path) -> tuple[int, int]:
    """Width and height in pixels as displayed, from the file's header alone.

    Raises:
        MediaError: as `read_still`, except for damage behind the header.
    """
    with opened(source) as (image, _):
        width, height = image.size
        # Pillow itself swaps the sides of a TIFF.
        turned = _orientation(image) in (5, 6, 7, 8) and image.format != "TIFF"
    return (height, width) if turned else (width, height)


def write_still(
    target: Path | BinaryIO,
    pixels: Pixels,
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a picture; a file appears complete or not at all.

    PNG, WebP (lossless), TIFF and BMP give back exactly these pixels; JPEG and AVIF are lossy
    (quality 95, 4:4:4).

    Args:
        target: a file whose suffix names the format, or a binary stream.
        pixels: uint8 (H, W, 3) sRGB or (H, W) grey, 0 to 255.
        format: a suffix such as "png" that overrules the target's; a stream's default is PNG.
        overwrite: replace an existing file.

    Raises:
        UsageError: the format is not one of these.
        OutputExistsError: the file exists and ``overwrite`` is false.
        MediaError: the system refuses to write.
    """
    path = target if isinstance(target, Path) else None
    suffix = f".{format.lower().lstrip('.')}" if format else path.suffix.lower() if path else ".png"
    if suffix not in _FORMATS:
        raise UsageError(
            f"cannot write a picture as '{suffix or path}'",
            hint="use one of " + " ".join(_FORMATS),
        )
    kind = _FORMATS[suffix]
    image = Image.fromarray(_checked(pixels))
    options = _SAVE_OPTIONS.get(kind, {})
    if not isinstance(target, Path):
        image.save(target, format=kind, **options)
        return
    with replacing(target, overwrite=overwrite) as temporary:
        try:
            image.save(temporary, format=kind, **options)
        except ValueError as error:  # for example a side over WebP's 16383 pixels
            raise MediaError(f"{target}: cannot be written as {kind} ({error})") from error


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """The whole picture at exactly ``width`` x ``height`` pixels (Lanczos; nothing is cut off).

    Args:
        pixels: uint8 (H, W, 3), (H, W) or, with straight alpha, (H, W, 4).

    Returns:
        uint8 (height, width, ...); ``pixels`` itself if the size fits already.

    Raises:
        UsageError: a side is below 1.
    """
    if width < 1 or height < 1:
        raise UsageError(f"cannot resize to {width}x{height}")
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(_checked(pixels, alpha=True))
    resized = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.array(resized, dtype=np.uint8)


def to_srgb(image: Image.Image, notes: list[str], *, background: Colour = WHITE) -> Pixels:
    """The current frame of a Pillow image as uint8 (H, W, 3) sRGB; appends to ``notes``.

    Raises whatever Pillow raises on damaged data.
    """
    profile = image.info.get("icc_profile")
    if image.mode in ("RGB", "RGBA") and _has_16_bits(image):
        notes.append("16-bit values scaled to 8 bits")
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
        notes.append("turned upright as its EXIF orientation says")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bits(image, notes)

    alpha: Image.Image | None = None
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")

    image = _convert_colours(image, profile, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        backdrop = Image.new("RGB", image.size, background)
        image = Image.composite(image, backdrop, alpha)
        notes.append("transparency composited on #{:02x}{:02x}{:02x}".format(*background))
    return np.array(image, dtype=np.uint8)


def to_srgb_with_alpha(image: Image.Image, notes: list[str]) -> Pixels:
    """Like `to_srgb`, but (H, W, 4) with straight alpha; opaque pixels get 255."""
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
        notes.append("turned upright as its EXIF orientation says")
    alpha = None
    if {"A", "a"} & set(image.getbands()) or "transparency" in image.info:
        profile = image.info.get("icc_profile")
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")
        image.info["icc_profile"] = profile
    colours = to_srgb(image, notes)
    if alpha is None:
        alpha = np.full(colours.shape[:2], 255, np.uint8)
    return np.dstack([colours, alpha])


@contextmanager
def opened(source: Path | BinaryIO) -> Iterator[tuple[Image.Image, str]]:
    """A Pillow image of which only the header has been read, and the source's base name."""
    if isinstance(source, Path):
        name, suffix = source.name, source.suffix.lower()
        if source.is_dir():
            raise MediaError(f"{source}: is a folder, not a picture")
        if not source.exists():
            raise MediaError(f"{source}: no such file")
    else:
        stream_name = getattr(source, "name", "")
        name = Path(stream_name).name.strip("<>") if isinstance(stream_name, str) else ""
        name, suffix = name or "stream", Path(name).suffix.lower()
    # Pillow would open the small preview of a RAW file, and start Ghostscript for an EPS.
    if suffix in _RAW:
        raise MediaError(f"{name}: camera RAW cannot be read", hint="develop it to TIFF or JPEG")
    if suffix in _VECTOR:
        raise MediaError(f"{name}: vector graphics cannot be read", hint="export it as PNG first")
    if suffix in _HEIF and importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    with ExitStack() as stack:
        try:
            # Never by path: Pillow then maps some TIFFs into memory and turns them wrongly.
            file: BinaryIO = (
                source.open("rb") if isinstance(source, Path) else io.BytesIO(source.read())
            )
            stack.enter_context(file)
            with _own_size_limit():
                image = stack.enter_context(Image.open(file))
        except UnidentifiedImageError as error:
            raise MediaError(
                f"{name}: not a picture that can be read", hint=_hint(suffix)
            ) from error
        except OSError as error:
            raise MediaError(f"{name}: cannot be read ({error.strerror or error})") from error
        except Exception as error:  # damaged headers raise nearly anything in Pillow's plugins
            raise MediaError(f"{name}: damaged picture ({error})") from error
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise MediaError(
                f"{name}: {width}x{height} is more than {MAX_PIXELS // 1_000_000} megapixels",
                hint="make it smaller first",
            )
        if image.format in ("EPS", "WMF"):
            raise MediaError(
                f"{name}: vector graphics cannot be read", hint="export it as PNG first"
            )
        yield image, name


@contextmanager
def _own_size_limit() -> Iterator[None]:
    """Lift Pillow's limit of 179 megapixels, which is global; ours is checked on the header."""
    with _LIMIT_LOCK, warnings.catch_warnings():
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn what Pillow's decoders raise into one line; some of them check the limit again."""
    try:
        with _own_size_limit():
            yield
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError(f"{name}: not enough memory to decode it") from error
    except Exception as error:  # damaged data raise nearly anything in Pillow's plugins
        raise MediaError(
            f"{name}: truncated or damaged ({error})", hint="copy or download it again"
        ) from error


def _hint(suffix: str) -> str:
    if suffix in _HEIF:
        return "convert it to JPEG or PNG, or: pip install pillow-heif"
    if suffix in VIDEO_SUFFIXES:
        return "this is a clip, not a still"
    return "PNG, JPEG, WebP, TIFF, AVIF, BMP and GIF can be read"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # unreadable EXIF data must not hide a readable picture
        return 1
    return value if value in range(1, 9) else 1


def _has_16_bits(image: Image.Image) -> bool:
    """Of colour that is not yet decoded; Pillow drops the lower bits, for it has 8 only."""
    tiles = getattr(image, "tile", [])
    return any(";16" in str(tile.args) for tile in tiles)


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Grey of 16 or 32 bits or floats, scaled to 8 bits (Pillow's own conversion clips)."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=1.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        bottom, top = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        kind = "floating-point"
    elif low >= 0 and high <= 65535:
        tags = getattr(image, "tag_v2", {})
        bottom, top = 0.0, 4095.0 if tags.get(258) == (12,) and high <= 4095 else 65535.0
        kind = "16-bit"
    else:
        bottom, top, kind = low, high, "32-bit"
    scaled = np.rint((values - bottom) * (255.0 / max(top - bottom, 1e-12))).clip(0, 255)
    notes.append(f"{kind} values scaled to 8 bits")
    return Image.fromarray(scaled.astype(np.uint8))


def _convert_colours(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """An L, RGB, CMYK or LAB image as sRGB, by its embedded profile where there is one."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        notes.append("CIELAB converted to sRGB")
        return _through(image, ImageCms.createProfile("LAB"), srgb)
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            title = ImageCms.getProfileDescription(embedded).strip() or "unnamed"
            space = embedded.profile.xcolor_space.strip()
            if {"L": "GRAY"}.get(image.mode, image.mode) != space:
                # Grey pictures with an RGB profile are common and have neutral colours.
                if not (image.mode == "L" and space == "RGB"):
                    raise ImageCms.PyCMSError(f"it is for {space}")
                image = image.convert("RGB")
            if image.mode == "RGB" and title.lower().startswith("srgb"):
                return image
            converted = _through(image, embedded, srgb)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes.append(f"colour profile ignored ({str(error).strip() or 'unusable'})")
        else:
            before = "CMYK" if image.mode == "CMYK" else "colours"
            if before == "CMYK" or _differ(image, converted):
                notes.append(f"{before} converted from profile '{title}' to sRGB")
            return converted
    if image.mode == "CMYK":
        notes.append("CMYK without a usable profile converted plainly to sRGB")
    return image.convert("RGB")


def _differ(first: Image.Image, second: Image.Image) -> bool:
    return first.convert("RGB").tobytes() != second.tobytes()


def _through(image: Image.Image, source: Any, target: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        source,
        target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # it is None only with inPlace
    return converted


def _checked(pixels: Pixels, *, alpha: bool = False) -> Pixels:
    channels = (3, 4) if alpha else (3,)
    known = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in channels)
    if pixels.dtype != np.uint8 or not known or pixels.size == 0:
        raise ValueError(
            f"pixels must be uint8 (H, W, 3) or (H, W), not {pixels.dtype} {pixels.shape}"
        )
    return np.ascontiguousarray(pixels)
