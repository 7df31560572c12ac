"""Conversion of Pillow images to upright 8-bit sRGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from iicnet_cli.pictures.arrays import Pixels

Colour = tuple[int, int, int]
"""An sRGB colour: red, green and blue, 0 to 255 each."""

WHITE: Colour = (255, 255, 255)

_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258


def to_srgb(image: Image.Image, notes: list[str], *, background: Colour = WHITE) -> Pixels:
    """Convert the current frame of an image.

    The EXIF orientation is applied, deep values are scaled to 8 bits, transparent pixels are
    composited on ``background``, and embedded colour profiles are converted to sRGB.

    Args:
        image: an image in any mode.
        notes: list that receives one short sentence for each conversion that changed something.
        background: sRGB colour behind transparent pixels.

    Returns:
        uint8 (H, W, 3), sRGB, 0 to 255.

    Raises:
        Exception: whatever Pillow raises on damaged data.
    """
    profile = image.info.get("icc_profile")
    if image.mode in ("RGB", "RGBA") and _has_16_bit_colour(image):
        notes.append("16-bit values scaled to 8 bits")
    image = _turn_upright(image, notes)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _scale_to_8_bits(image, notes)

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
    """Convert the current frame of an image and keep its transparency.

    Args:
        image: an image in any mode.
        notes: as of `to_srgb`.

    Returns:
        uint8 (H, W, 4), sRGB with straight alpha; opaque pixels have an alpha of 255.

    Raises:
        Exception: whatever Pillow raises on damaged data.
    """
    image = _turn_upright(image, notes)
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


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is absent or unreadable."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # unreadable EXIF data must not hide a readable picture
        return 1
    return value if value in range(1, 9) else 1


def _turn_upright(image: Image.Image, notes: list[str]) -> Image.Image:
    if exif_orientation(image) == 1:
        return image
    notes.append("turned upright as its EXIF orientation says")
    return ImageOps.exif_transpose(image)


def _has_16_bit_colour(image: Image.Image) -> bool:
    """Whether an image that is not decoded yet stores 16-bit colour.

    Pillow has no mode for 16-bit colour: it drops the lower bits when it decodes.
    """
    tiles = getattr(image, "tile", [])
    return any(";16" in str(tile.args) for tile in tiles)


def _scale_to_8_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Scale grey values of 16 or 32 bits or floats (Pillow's own conversion clips them)."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=1.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        black, white = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
        kind = "floating-point"
    elif low >= 0 and high <= 65535:
        tags = getattr(image, "tag_v2", {})
        has_12_bits = tags.get(_TIFF_BITS_PER_SAMPLE) == (12,) and high <= 4095
        black, white = 0.0, 4095.0 if has_12_bits else 65535.0
        kind = "16-bit"
    else:
        black, white, kind = low, high, "32-bit"
    scaled = np.rint((values - black) * (255.0 / max(white - black, 1e-12))).clip(0, 255)
    notes.append(f"{kind} values scaled to 8 bits")
    return Image.fromarray(scaled.astype(np.uint8))


def _convert_colours(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Convert an L, RGB, CMYK or LAB image to sRGB, by its embedded profile if there is one."""
    if image.mode == "LAB":
        notes.append("CIELAB converted to sRGB")
        return _profile_to_srgb(image, ImageCms.createProfile("LAB"))
    if profile:
        try:
            return _convert_from_profile(image, profile, notes)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes.append(f"colour profile ignored ({str(error).strip() or 'unusable'})")
    if image.mode == "CMYK":
        notes.append("CMYK without a usable profile converted plainly to sRGB")
    return image.convert("RGB")


def _convert_from_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Convert an L, RGB or CMYK image from its ICC profile to sRGB.

    Raises:
        ImageCms.PyCMSError, OSError, ValueError, TypeError: the profile cannot be used.
    """
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
    converted = _profile_to_srgb(image, embedded)
    if image.mode == "CMYK":
        notes.append(f"CMYK converted from profile '{title}' to sRGB")
    elif image.convert("RGB").tobytes() != converted.tobytes():
        notes.append(f"colours converted from profile '{title}' to sRGB")
    return converted


def _profile_to_srgb(image: Image.Image, source: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # it is None only with inPlace
    return converted
