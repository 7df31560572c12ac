"""Conversion of Pillow images to upright 8-bit sRGB."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from iicnet_cli.media.signalled_colour import SignalledColour, colour_of_codes, colour_of_gamma
from iicnet_cli.pictures.arrays import Pixels

Colour = tuple[int, int, int]
"""An sRGB colour: red, green and blue, 0 to 255 each."""

WHITE: Colour = (255, 255, 255)

NOTES_KEY = "iicnet notes"
"""What was noticed when an image was opened, among the facts that Pillow keeps of it."""
CODES_KEY = "iicnet colour codes"
"""The same: numbers of H.273 of primaries and transfer, and whether they replace a profile."""

_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC = 258, 262
_MIN_IS_WHITE = 0

_PROBED_LEVELS = 9
"""A profile is compared with that of sRGB at so many levels of each channel."""
_PROFILE_ROUNDING = 4
"""Profiles of sRGB differ by up to this much."""


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
    pixels, alpha = _to_srgb_and_alpha(image, notes)
    if alpha is None or alpha.min() == 255:
        return pixels
    notes.append(transparency_note(background))
    backdrop = Image.new("RGB", (alpha.shape[1], alpha.shape[0]), background)
    return np.array(Image.composite(Image.fromarray(pixels), backdrop, Image.fromarray(alpha)))


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
    pixels, alpha = _to_srgb_and_alpha(image, notes)
    if alpha is None:
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
    return np.dstack([pixels, alpha])


def _to_srgb_and_alpha(image: Image.Image, notes: list[str]) -> tuple[Pixels, Pixels | None]:
    """The colours of an image (H, W, 3) and its alpha (H, W), if it has any; both upright."""
    facts = image.info
    profile, signalled = facts.get("icc_profile"), _signalled_colour(facts)
    notes.extend(note for note in facts.get(NOTES_KEY, ()) if note not in notes)
    if image.mode in ("RGB", "RGBA") and _has_16_bit_colour(image):
        notes.append("16-bit values scaled to 8 bits")
        if isinstance(facts.get("transparency"), tuple):
            _make_transparent(image, facts["transparency"])
    image = _turn_upright(image, notes)
    alpha: Image.Image | None = None
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        transparent = facts.get("transparency")
        if isinstance(transparent, int):
            opaque = np.asarray(image) != transparent
            alpha = Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8))
        image = _scale_to_8_bits(image, notes)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    if signalled is not None and image.mode in ("L", "RGB") and not (profile and not signalled[1]):
        notes.append(signalled[0].note)
        image = Image.fromarray(signalled[0].to_srgb(np.asarray(image))).convert("RGB")
    else:
        image = _convert_colours(image, profile, notes)
    return np.array(image, np.uint8), None if alpha is None else np.array(alpha, np.uint8)


def _signalled_colour(facts: Mapping[Any, Any]) -> tuple[SignalledColour, bool] | None:
    """The colours that an image declares, if they are not those of sRGB.

    Args:
        facts: ``info`` of the image.

    Returns:
        The colours, and whether they go before an ICC profile, as cICP does.
    """
    if CODES_KEY in facts:
        codes, is_first = facts[CODES_KEY]
        colour = colour_of_codes(*codes)
        return None if colour is None else (colour, is_first)
    if "srgb" in facts:
        return None
    colour = colour_of_gamma(facts.get("gamma"), facts.get("chromaticity"))
    return None if colour is None else (colour, False)


def transparency_note(background: Colour) -> str:
    """What becomes of transparent pixels, in words."""
    return "transparency composited on #{:02x}{:02x}{:02x}".format(*background)


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


def _make_transparent(image: Image.Image, colour: tuple[int, ...]) -> None:
    """Give a 16-bit PNG that is not decoded yet an alpha channel: one colour is transparent.

    Pillow keeps the high bytes only, and would compare those of the colour with its low bytes.
    """
    high = np.array(colour) >> 8
    if getattr(image, "n_frames", 1) > 1:
        opaque = (np.asarray(image) != high).any(axis=2)
    else:
        low_bytes = _low_bytes(image)
        values = np.asarray(image).astype(np.uint16) << 8 | low_bytes
        opaque = (values != np.array(colour)).any(axis=2)
    image.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    del image.info["transparency"]


def _low_bytes(image: Image.Image) -> Pixels:
    """The low bytes of a 16-bit PNG that is not decoded yet, (H, W, 3)."""
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    other = Image.open(file, formats=("PNG",))
    # As if the bytes came in the other order.
    other.tile = [tile._replace(args="RGB;16L") for tile in other.tile]
    low_bytes = np.array(other)
    file.seek(position)
    return low_bytes


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
    if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _MIN_IS_WHITE:
        scaled = 255 - scaled  # Pillow does that for 8 bits
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
    if image.mode == "RGB" and _is_srgb(profile):
        return image
    converted = _profile_to_srgb(image, embedded)
    if image.mode == "CMYK":
        notes.append(f"CMYK converted from profile '{title}' to sRGB")
    elif image.convert("RGB").tobytes() != converted.tobytes():
        notes.append(f"colours converted from profile '{title}' to sRGB")
    return converted


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile is that of sRGB but for rounding, whatever it is called."""
    levels = np.linspace(0, 255, _PROBED_LEVELS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(_PROBED_LEVELS, -1, 3)
    embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = np.asarray(_profile_to_srgb(Image.fromarray(cube), embedded))
    return bool(np.abs(converted.astype(int) - cube).max() <= _PROFILE_ROUNDING)


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
