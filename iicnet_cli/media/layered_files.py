"""Files that hold layers: OpenRaster, PSD and multi-page TIFF."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import to_srgb_with_alpha
from iicnet_cli.media.layered_image import Layer, LayeredImage, check_layer_count, flatten
from iicnet_cli.media.openraster import read_openraster
from iicnet_cli.media.pillow_files import decoding, open_image, refuse_missing_strips
from iicnet_cli.media.psd import read_psd

_MERGED_DIFFERENCE = 1.0
"""Merged pictures differ by less than this from what their layers make, on average."""

LAYERED_SUFFIXES = frozenset({".ora", ".psd"})
"""Suffixes of files that always hold layers, in lower case with the dot."""


def is_layered(path: Path) -> bool:
    """Return whether a file holds layers: .ora, .psd, or a TIFF of several pages of one size."""
    suffix = path.suffix.lower()
    if suffix in LAYERED_SUFFIXES:
        return path.is_file()
    if suffix not in (".tif", ".tiff"):
        return False
    try:
        with open_image(path) as (image, name), decoding(name):
            sizes = _page_sizes(image)
            return len(sizes) > 1 and len(set(sizes)) == 1
    except MediaError:
        return False


def read_layers(path: Path) -> LayeredImage:
    """Read the visible layers of a file, each as large as the picture.

    Groups are flattened into the list, in order, and their opacity is applied to their layers.
    Blend modes other than the normal one are ignored, and noted. In a PSD, a clipped layer is
    merged into the one that it is clipped to.

    Args:
        path: OpenRaster; TIFF, whose first page is the bottom; or PSD, which needs the package
            psd-tools.

    Raises:
        MediaError: the file cannot be read or holds no layers, its layers have more than 500
            megapixels together, or psd-tools is missing.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".ora":
        return read_openraster(path)
    if suffix == ".psd":
        return read_psd(path)
    return _read_tiff(path)


def _read_tiff(path: Path) -> LayeredImage:
    layers = []
    notes: list[str] = []
    with open_image(path) as (image, name), decoding(name):
        if image.format != "TIFF":
            raise MediaError(
                f"{name}: holds no layers", hint="use .ora, .psd or a TIFF of several pages"
            )
        sizes = _page_sizes(image)
        check_layer_count(name, max(sizes, key=math.prod), len(sizes))
        for index in range(len(sizes)):
            image.seek(index)
            refuse_missing_strips(image, name)
            layers.append(Layer(f"page {index + 1}", to_srgb_with_alpha(image, notes)))
        if len({layer.pixels.shape for layer in layers}) > 1:
            raise MediaError(f"{name}: its pages differ in size, so they are no layers")
    if len(layers) > 2 and _looks_like(layers[0], layers[1:]):
        # Some programs put the merged picture first.
        notes.append("page 1 is what the others make together, and is left out")
        del layers[0]
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))


def _looks_like(merged: Layer, layers: list[Layer]) -> bool:
    """Whether a layer is what the others look like together, and not just like the bottom one."""
    seen, wanted, bottom = (
        pixels[..., :3].astype(np.int16)
        for pixels in (merged.pixels, flatten(layers), layers[0].pixels)
    )
    difference = float(np.abs(seen - wanted).mean())
    return difference < _MERGED_DIFFERENCE and difference < float(np.abs(seen - bottom).mean())


def _page_sizes(image: Image.Image) -> list[tuple[int, int]]:
    sizes = []
    for index in range(int(getattr(image, "n_frames", 1))):
        image.seek(index)
        sizes.append(image.size)
    return sizes
