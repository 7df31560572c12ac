"""Pictures in layers, and how layers look on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import WHITE, Colour
from iicnet_cli.media.pillow_files import MAX_PIXELS
from iicnet_cli.pictures.arrays import Pixels

MAX_LAYERS = 1000
"""Files with more than this many layers are refused."""


@dataclass(frozen=True)
class Layer:
    """A layer as large as its picture.

    Attributes:
        name: as the file gives it.
        pixels: uint8 (H, W, 4), sRGB with straight alpha.
    """

    name: str
    pixels: Pixels


@dataclass(frozen=True)
class LayeredImage:
    """A picture in layers.

    Attributes:
        layers: all of one size, the bottom one first.
        notes: short sentences about what was converted or left out.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


def flatten(layers: Sequence[Layer]) -> Pixels:
    """Put layers on top of each other, the bottom one first.

    Returns:
        uint8 (H, W, 4), sRGB with straight alpha.
    """
    height, width = layers[0].pixels.shape[:2]
    flat = Image.new("RGBA", (width, height))
    for layer in layers:
        flat = Image.alpha_composite(flat, Image.fromarray(layer.pixels))
    return np.array(flat)


def composite(layers: Sequence[Layer], background: Colour = WHITE) -> Pixels:
    """Put layers, the bottom one first, on top of a plain colour.

    Returns:
        uint8 (H, W, 3) sRGB.
    """
    height, width = layers[0].pixels.shape[:2]
    plain = np.empty((height, width, 4), np.uint8)
    plain[:] = (*background, 255)
    return np.ascontiguousarray(flatten([Layer("", plain), *layers])[..., :3])


def place_on_canvas(
    pixels: Pixels, size: tuple[int, int], position: tuple[int, int], opacity: float
) -> Pixels:
    """Put a layer of any size on a transparent canvas.

    Args:
        pixels: uint8 (H, W, 4).
        size: width and height of the canvas, pixels.
        position: left and top of the layer on the canvas, pixels; may be outside of it.
        opacity: factor of the alpha, 0 to 1.

    Returns:
        uint8 (height, width, 4).
    """
    canvas = Image.new("RGBA", size)
    canvas.paste(Image.fromarray(pixels), position)
    placed = np.array(canvas)
    if opacity < 1:
        placed[..., 3] = np.rint(placed[..., 3] * opacity)
    return placed


def check_layer_count(name: str, size: tuple[int, int], count: int) -> None:
    """Refuse layers that would not fit in memory, since each becomes as large as the picture.

    Args:
        name: base name of the file, for the message.
        size: width and height of the picture, pixels.
        count: number of layers.

    Raises:
        MediaError: the layers have more than 500 megapixels together or are too many, or the
            picture is empty.
    """
    width, height = size
    if width < 1 or height < 1 or width * height * max(1, count) > MAX_PIXELS:
        raise MediaError(
            f"{name}: {width}x{height} in {count} layers is too much",
            hint="make it smaller, or merge layers",
        )
    if count > MAX_LAYERS:
        raise MediaError(f"{name}: more than {MAX_LAYERS} layers", hint="merge some of them")
