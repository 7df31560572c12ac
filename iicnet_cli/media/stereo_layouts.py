"""Ways to show both views of a stereo pair in one picture."""

from __future__ import annotations

import numpy as np

from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.arrays import Pixels

LAYOUTS = ("side-by-side", "top-bottom", "cross-eyed")
"""How one picture can hold both views; cross-eyed is side by side with the right view on the
left."""

# Dubois (2001), red-cyan; columns: red, green, blue of the left view, then of the right one.
_DUBOIS = np.array(
    [
        [0.4561, 0.500484, 0.176381, -0.0434706, -0.0879388, -0.00155529],
        [-0.0400822, -0.0378246, -0.0157589, 0.378476, 0.73364, -0.0184503],
        [-0.0152161, -0.0205971, -0.00546856, -0.0721527, -0.112961, 1.2264],
    ],
    np.float32,
)


def split(pixels: Pixels, layout: str) -> tuple[Pixels, Pixels]:
    """Cut a picture that holds both views into the left and the right one.

    Args:
        pixels: uint8 (H, W, 3).
        layout: one of :data:`LAYOUTS`.

    Returns:
        Left and right view, each half as wide or high.

    Raises:
        UsageError: there is no such layout, or the side that would be halved is odd.
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
    """Put both views into one picture; the inverse of :func:`split`.

    Args:
        left: uint8 (H, W, 3).
        right: uint8 (H, W, 3).
        layout: one of :data:`LAYOUTS`.

    Raises:
        UsageError: there is no such layout, or the views differ in size.
    """
    check_views(left, right)
    views = (right, left) if layout == "cross-eyed" else (left, right)
    joined: Pixels = np.concatenate(views, axis=_axis(layout))
    return joined


def anaglyph(left: Pixels, right: Pixels) -> Pixels:
    """Mix both views into one picture for red-cyan glasses with red on the left eye.

    The least-squares matrices are those of E. Dubois, "A projection method to generate anaglyph
    stereo images", ICASSP 2001. They project tristimulus values, so sRGB is converted to linear
    light before and back after it. Two equal grey views give the same grey.

    Args:
        left: uint8 (H, W, 3) sRGB.
        right: uint8 (H, W, 3) sRGB.

    Returns:
        uint8 (H, W, 3) sRGB.

    Raises:
        UsageError: the views differ in size.
    """
    check_views(left, right)
    code = np.arange(256) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    light = linear.astype(np.float32)[np.concatenate([left, right], axis=-1)]
    mixed = (light @ _DUBOIS.T).clip(0, 1)
    encoded = np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)
    picture: Pixels = np.rint(255 * encoded).astype(np.uint8)
    return picture


def check_layout(layout: str) -> None:
    """Refuse the name of an unknown layout.

    Raises:
        UsageError: the name is not one of :data:`LAYOUTS`.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"no layout '{layout}'", hint=f"layouts: {', '.join(LAYOUTS)}")


def check_views(left: Pixels, right: Pixels) -> None:
    """Refuse views of different sizes.

    Raises:
        UsageError: the shapes differ.
    """
    if left.shape != right.shape:
        raise UsageError(
            f"the two views must have one size, but they are {left.shape[1]}x{left.shape[0]} and "
            f"{right.shape[1]}x{right.shape[0]}"
        )


def _axis(layout: str) -> int:
    check_layout(layout)
    return 0 if layout == "top-bottom" else 1
