"""Stereo pairs as people have them: MPO, JPS, both views in one picture, anaglyphs."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.files import replacing
from iicnet_cli.media.stills import (
    WHITE,
    Colour,
    decoding,
    opened,
    read_still,
    to_srgb,
    write_still,
)
from iicnet_cli.pictures.arrays import Pixels

LAYOUTS = ("side-by-side", "top-bottom", "cross-eyed")
"""How one picture holds both views; cross-eyed is side by side with the right view on the left."""

_CROSS_EYED = {".jps": "jpg", ".pns": "png"}
_DISPARITY = 0x020002
_REPRESENTATIVE = 1 << 29
_BASELINE = 0x030000

_UNTYPED = {"Undefined", "Baseline MP Primary Image"}

# Dubois (2001), red-cyan; columns: red, green, blue of the left view, then of the right one.
_DUBOIS = np.array(
    [
        [0.4561, 0.500484, 0.176381, -0.0434706, -0.0879388, -0.00155529],
        [-0.0400822, -0.0378246, -0.0157589, 0.378476, 0.73364, -0.0184503],
        [-0.0152161, -0.0205971, -0.00546856, -0.0721527, -0.112961, 1.2264],
    ],
    np.float32,
)


@dataclass(frozen=True)
class StereoPair:
    """Two views, uint8 (H, W, 3) sRGB each, with notes on what was converted."""

    left: Pixels
    right: Pixels
    notes: tuple[str, ...] = ()


def split(pixels: Pixels, layout: str) -> tuple[Pixels, Pixels]:
    """Left and right view of a picture (H, W, 3) that holds both.

    Raises:
        UsageError: no such layout, or the side that is to be halved is odd.
    """
    axis = _axis(layout)
    if pixels.shape[axis] % 2:
        raise UsageError(
            f"{pixels.shape[1]}x{pixels.shape[0]} cannot hold two views {layout}: its "
            f"{'height' if axis == 0 else 'width'} is odd"
        )
    first, second = np.split(pixels, 2, axis=axis)
    return (second, first) if layout == "cross-eyed" else (first, second)


def join(left: Pixels, right: Pixels, layout: str) -> Pixels:
    """One picture that holds both views; the inverse of :func:`split`.

    Raises:
        UsageError: no such layout, or the views differ in size.
    """
    _check_same_size(left, right)
    views = (right, left) if layout == "cross-eyed" else (left, right)
    joined: Pixels = np.concatenate(views, axis=_axis(layout))
    return joined


def anaglyph(left: Pixels, right: Pixels) -> Pixels:
    """A picture (H, W, 3) for red-cyan glasses, red on the left eye.

    By the least-squares matrices of E. Dubois, "A projection method to generate anaglyph stereo
    images", ICASSP 2001, on linear light: his projection is one of tristimulus values, so sRGB is
    decoded before and encoded again after it. Two equal grey views give the same grey.

    Raises:
        UsageError: the views differ in size.
    """
    _check_same_size(left, right)
    code = np.arange(256) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    light = linear.astype(np.float32)[np.concatenate([left, right], axis=-1)]
    mixed = (light @ _DUBOIS.T).clip(0, 1)
    encoded = np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
    picture: Pixels = np.rint(255 * encoded).astype(np.uint8)
    return picture


def is_stereo(path: Path) -> bool:
    """Whether a file says itself that it is a stereo pair.

    True for .jps and .pns, and for an MPO whose first two pictures have one size and are typed as
    disparity, or are not typed but the file is called .mpo. Phones write MPOs too, with a preview
    or a gain map as second picture: those are no pairs. False for what cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        with opened(path) as (image, name), decoding(name):
            if suffix in _CROSS_EYED:
                return True
            if image.format != "MPO":
                return False
            index = image.mpinfo  # type: ignore[attr-defined]
            types = {entry["Attribute"]["MPType"] for entry in index[0xB002][:2]}
            disparity = all("Disparity" in kind for kind in types)
            if not (disparity or (suffix == ".mpo" and types <= _UNTYPED)):
                return False
            first = image.size
            image.seek(1)
            return image.size == first
    except MediaError:
        return False


def read_pair(source: Path, layout: str | None = None, *, background: Colour = WHITE) -> StereoPair:
    """Read a stereo pair from one file.

    Args:
        source: an MPO, a .jps or .pns (cross-eyed by convention), or any picture and a layout.
        layout: one of :data:`LAYOUTS`; not for an MPO.
        background: sRGB colour behind transparent pixels.

    Raises:
        UsageError: neither the file nor ``layout`` says where the two views are; so it is too
            with an MPO whose pictures differ in size, such as a phone's with its preview.
        MediaError: the file cannot be read, or its second picture is damaged.
    """
    if layout is None and source.suffix.lower() in _CROSS_EYED:
        layout = "cross-eyed"
    if layout is not None:
        _axis(layout)
        still = read_still(source, background=background)
        left, right = split(still.pixels, layout)
        return StereoPair(left, right, still.notes)
    with opened(source) as (image, name):
        if image.format != "MPO" or getattr(image, "n_frames", 1) < 2:
            raise UsageError(
                f"{name} does not say how it holds two views",
                hint=f"add --layout ({', '.join(LAYOUTS)}), or give one file for each view",
            )
        first = image.size
        with decoding(name):
            image.seek(1)
            second = image.size
        if second != first:
            raise UsageError(
                f"{name} holds no pair: its second picture has another size, as previews have",
                hint=f"add --layout ({', '.join(LAYOUTS)}), or give one file for each view",
            )
        notes: list[str] = []
        views = []
        with decoding(name):
            for index in range(2):
                image.seek(index)
                said: list[str] = []
                views.append(to_srgb(image, said, background=background))
                notes += [note for note in said if note not in notes]
    return StereoPair(views[0], views[1], tuple(notes))


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
        left: (H, W, 3).
        right: of the same size.
        layout: one of :data:`LAYOUTS` or ``anaglyph``; side by side by default.
        overwrite: replace an existing file.

    Raises:
        UsageError: the format or the layout is not one of these, or the views differ in size.
        OutputExistsError: the file exists and ``overwrite`` is False.
        MediaError: the system refuses to write.
    """
    suffix = target.suffix.lower()
    if suffix in _CROSS_EYED and layout not in (None, "cross-eyed"):
        # Every reader would take the views of such a file for swapped ones.
        raise UsageError(f"a {suffix} is cross-eyed by convention: leave --layout out")
    if suffix == ".mpo":
        if layout is not None:
            raise UsageError("an MPO keeps the views apart: leave --layout out")
        _check_same_size(left, right)
        with replacing(target, overwrite=overwrite) as temporary:
            temporary.write_bytes(_mpo(left, right))
        return
    layout = layout or ("cross-eyed" if suffix in _CROSS_EYED else "side-by-side")
    picture = anaglyph(left, right) if layout == "anaglyph" else join(left, right, layout)
    write_still(target, picture, format=_CROSS_EYED.get(suffix), overwrite=overwrite)


def _axis(layout: str) -> int:
    if layout not in LAYOUTS:
        raise UsageError(f"no layout '{layout}'", hint=f"layouts: {', '.join(LAYOUTS)}")
    return 0 if layout == "top-bottom" else 1


def _check_same_size(left: Pixels, right: Pixels) -> None:
    if left.shape != right.shape:
        raise UsageError(
            f"the two views must have one size, but they are {left.shape[1]}x{left.shape[0]} and "
            f"{right.shape[1]}x{right.shape[0]}"
        )


def _mpo(left: Pixels, right: Pixels) -> bytes:
    """An MPO as 3D cameras write it: both pictures typed as disparity."""
    first, second = Image.fromarray(left), Image.fromarray(right)
    second.encoderinfo = {"quality": 95, "subsampling": "4:4:4"}
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second], quality=95, subsampling="4:4:4")
    data = file.getvalue()
    # Pillow has no option for the types: it writes "baseline primary" and "undefined".
    with Image.open(file) as image:
        entries = [
            (entry["Size"], entry["DataOffset"])
            for entry in image.mpinfo[0xB002]  # type: ignore[attr-defined]
        ]
    written, wanted = (
        b"".join(
            struct.pack("<LLLHH", kind, size, offset, 0, 0)
            for kind, (size, offset) in zip(kinds, entries, strict=True)
        )
        for kinds in ((_BASELINE, 0), (_DISPARITY | _REPRESENTATIVE, _DISPARITY))
    )
    return data.replace(written, wanted, 1)
