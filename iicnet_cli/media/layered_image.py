"""Pictures in layers, and how layers look on top of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import WHITE, Colour
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import max_pixels

_MAX_EXCESS, _ALLOWED_PIXELS = 8, 4_000_000
"""A layer may have so many times the pixels of its picture, and so many pixels besides."""

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


def check_layer_size(name: str, canvas: tuple[int, int], layer: tuple[int, int]) -> None:
    """Refuse a layer that is much larger than its picture: it has to be decoded as a whole.

    Args:
        name: base name of the file, for the message.
        canvas: width and height of the picture, pixels.
        layer: width and height of the layer, pixels.

    Raises:
        MediaError: the layer has more than eight times the pixels of the picture, and many.
    """
    if math.prod(layer) > _MAX_EXCESS * math.prod(canvas) + _ALLOWED_PIXELS:
        raise MediaError(
            f"{name}: a layer of {layer[0]}x{layer[1]} in a picture of {canvas[0]}x{canvas[1]} is "
            "too much",
            hint="crop its layers to the canvas",
        )


def check_layer_count(name: str, size: tuple[int, int], count: int) -> None:
    """Refuse layers that would not fit in memory, since each becomes as large as the picture.

    Args:
        name: base name of the file, for the message.
        size: width and height of the picture, pixels.
        count: number of layers.

    Raises:
        MediaError: the layers have more than `max_pixels` together or are too many, or the
            picture is empty.
    """
    width, height = size
    if width < 1 or height < 1 or width * height * max(1, count) > max_pixels():
        raise MediaError(
            f"{name}: {width}x{height} in {count} layers is too much",
            hint="make it smaller, merge layers, or raise the limit with --max-pixels",
        )
    if count > MAX_LAYERS:
        raise MediaError(f"{name}: more than {MAX_LAYERS} layers", hint="merge some of them")
