"""Files that hold stereo pairs: MPO, JPS, PNS, and pictures with both views in them."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.colour import WHITE, Colour, to_srgb
from iicnet_cli.media.files import replacing
from iicnet_cli.media.pillow_files import decoding, open_image
from iicnet_cli.media.stereo_layouts import (
    LAYOUTS,
    anaglyph,
    check_layout,
    check_views,
    join,
    split,
)
from iicnet_cli.media.stills import read_still, write_still
from iicnet_cli.pictures.arrays import Pixels

_CROSS_EYED = {".jps": "jpg", ".pns": "png"}
"""Suffixes of files that are cross-eyed by convention, with the format of the picture in them."""

# The MP entries of an MPO: a tag, and the attributes of each picture.
_MP_ENTRY_TAG = 0xB002
_MP_DISPARITY = 0x020002
_MP_BASELINE_PRIMARY = 0x030000
_MP_UNDEFINED = 0
_MP_REPRESENTATIVE_FLAG = 1 << 29
_UNTYPED_NAMES = {"Undefined", "Baseline MP Primary Image"}

# The descriptor of a JPS in the segment APP3: a mark, a length, separation, flags, layout, type.
_JPS_MARK, _JPS_BYTES = b"_JPSJPS_", 14
_JPS_LEFT_FIRST = 4
_JPS_SIDE_BY_SIDE, _JPS_OVER_UNDER = 2, 3

_HOW_TO_SAY = f"add --layout ({', '.join(LAYOUTS)}), or give one file for each view"


@dataclass(frozen=True)
class StereoPair:
    """The two views of a stereo pair.

    Attributes:
        left: uint8 (H, W, 3) sRGB.
        right: uint8 (H, W, 3) sRGB.
        notes: one short sentence for each conversion that changed something.
    """

    left: Pixels
    right: Pixels
    notes: tuple[str, ...] = ()


def is_stereo(path: Path) -> bool:
    """Return whether a file declares that it is a stereo pair.

    True for .jps and .pns, and for an MPO whose first two pictures have one size and are typed as
    disparity, or are untyped in a file called .mpo. Phones write MPOs, too, with a preview or a
    gain map as second picture: those are no pairs. False for files that cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        with open_image(path) as (image, name), decoding(name):
            if suffix in _CROSS_EYED:
                return True
            if image.format != "MPO":
                return False
            index = image.mpinfo  # type: ignore[attr-defined]
            types = {entry["Attribute"]["MPType"] for entry in index[_MP_ENTRY_TAG][:2]}
            disparity = all("Disparity" in kind for kind in types)
            if not (disparity or (suffix == ".mpo" and types <= _UNTYPED_NAMES)):
                return False
            first_size = image.size
            image.seek(1)
            return image.size == first_size
    except MediaError:
        return False


def read_pair(source: Path, layout: str | None = None, *, background: Colour = WHITE) -> StereoPair:
    """Read a stereo pair from one file.

    Args:
        source: an MPO, a .jps or .pns (cross-eyed unless its descriptor says otherwise), or any
            picture and a layout.
        layout: one of :data:`LAYOUTS`; not needed for an MPO.
        background: sRGB colour behind transparent pixels.

    Raises:
        UsageError: neither the file nor ``layout`` says where the two views are, or the pictures
            of an MPO differ in size, such as a phone's photo and its preview.
        MediaError: the file cannot be read, or its second picture is damaged.
    """
    if layout is None and source.suffix.lower() in _CROSS_EYED:
        layout = _declared_layout(source)
    if layout is None:
        return _read_mpo(source, background)
    check_layout(layout)
    still = read_still(source, background=background)
    left, right = split(still.pixels, layout)
    return StereoPair(left, right, still.notes)


def write_pair(
    target: Path,
    left: Pixels,
    right: Pixels,
    layout: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write both views into one file.

    Args:
        target: .mpo (JPEG, quality 95, 4:4:4), .jps or .pns (cross-eyed), or any picture.
        left: uint8 (H, W, 3) sRGB.
        right: uint8 (H, W, 3) sRGB.
        layout: one of :data:`LAYOUTS` or ``anaglyph``; side by side by default.
        overwrite: replace an existing file.

    Raises:
        UsageError: the format or the layout is not one of these, or the views differ in size.
        OutputExistsError: the file exists and ``overwrite`` is false.
        MediaError: the system refuses to write.
    """
    suffix = target.suffix.lower()
    if suffix in _CROSS_EYED and layout not in (None, "cross-eyed"):
        # Every reader would swap the views of such a file.
        raise UsageError(f"a {suffix} is cross-eyed by convention: leave --layout out")
    if suffix == ".mpo":
        if layout is not None:
            raise UsageError("an MPO keeps the views apart: leave --layout out")
        check_views(left, right)
        with replacing(target, overwrite=overwrite) as temporary:
            temporary.write_bytes(_encode_mpo(left, right))
        return
    layout = layout or ("cross-eyed" if suffix in _CROSS_EYED else "side-by-side")
    picture = anaglyph(left, right) if layout == "anaglyph" else join(left, right, layout)
    write_still(target, picture, format=_CROSS_EYED.get(suffix), overwrite=overwrite)


def _read_mpo(source: Path, background: Colour) -> StereoPair:
    with open_image(source) as (image, name):
        if image.format != "MPO" or getattr(image, "n_frames", 1) < 2:
            raise UsageError(f"{name} does not say how it holds two views", hint=_HOW_TO_SAY)
        first_size = image.size
        with decoding(name):
            image.seek(1)
            second_size = image.size
        if second_size != first_size:
            raise UsageError(
                f"{name} holds no pair: its second picture has another size, as previews have",
                hint=_HOW_TO_SAY,
            )
        notes: list[str] = []
        views = []
        with decoding(name):
            for index in range(2):
                image.seek(index)
                views.append(to_srgb(image, notes, background=background))
    return StereoPair(views[0], views[1], tuple(dict.fromkeys(notes)))


def _declared_layout(source: Path) -> str:
    """The layout that the descriptor of a JPS names; cross-eyed without one.

    Raises:
        UsageError: the views are interleaved or an anaglyph.
    """
    with open_image(source) as (image, name):
        for marker, data in getattr(image, "applist", ()):
            if marker == "APP3" and data.startswith(_JPS_MARK) and len(data) >= _JPS_BYTES:
                break
        else:
            return "cross-eyed"
    flags, layout = data[_JPS_BYTES - 3], data[_JPS_BYTES - 2]
    left_first = bool(flags & _JPS_LEFT_FIRST)
    if layout == _JPS_SIDE_BY_SIDE:
        return "side-by-side" if left_first else "cross-eyed"
    if layout == _JPS_OVER_UNDER and left_first:
        return "top-bottom"
    raise UsageError(
        f"{name}: says that its views are laid out in a way that cannot be read", hint=_HOW_TO_SAY
    )


def _encode_mpo(left: Pixels, right: Pixels) -> bytes:
    """Return an MPO like those of 3D cameras: both pictures are typed as disparity."""
    first, second = Image.fromarray(left), Image.fromarray(right)
    second.encoderinfo = {"quality": 95, "subsampling": "4:4:4"}
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second], quality=95, subsampling="4:4:4")
    data = file.getvalue()
    # Pillow has no option for the types: it writes "baseline primary" and "undefined".
    with Image.open(file) as image:
        entries = [
            (entry["Size"], entry["DataOffset"])
            for entry in image.mpinfo[_MP_ENTRY_TAG]  # type: ignore[attr-defined]
        ]
    written, wanted = (
        b"".join(
            struct.pack("<LLLHH", kind, size, offset, 0, 0)
            for kind, (size, offset) in zip(kinds, entries, strict=True)
        )
        for kinds in (
            (_MP_BASELINE_PRIMARY, _MP_UNDEFINED),
            (_MP_DISPARITY | _MP_REPRESENTATIVE_FLAG, _MP_DISPARITY),
        )
    )
    return data.replace(written, wanted, 1)
