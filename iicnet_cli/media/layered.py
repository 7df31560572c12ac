"""Pictures in layers: OpenRaster, multi-page TIFF, PSD."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.files import replacing
from iicnet_cli.media.stills import (
    MAX_PIXELS,
    WHITE,
    Colour,
    Pixels,
    decoding,
    opened,
)

_MIMETYPE = b"image/openraster"
_MAX_STACK_BYTES = 1 << 20
_MAX_LAYERS = 1000
_THUMBNAIL = 256


@dataclass(frozen=True)
class Layer:
    """A layer as large as its picture: uint8 (H, W, 4), sRGB with straight alpha."""

    name: str
    pixels: Pixels


@dataclass(frozen=True)
class LayeredImage:
    """Layers, the bottom one first, with notes on what was converted or left out."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


def is_layered(path: Path) -> bool:
    """Whether a file holds layers: .ora, .psd, or a TIFF of two or more pages of one size."""
    suffix = path.suffix.lower()
    if suffix in (".ora", ".psd"):
        return path.is_file()
    if suffix not in (".tif", ".tiff"):
        return False
    try:
        with opened(path) as (image, _):
            sizes = set()
            for index in range(int(getattr(image, "n_frames", 1))):
                image.seek(index)
                sizes.add(image.size)
            return index > 0 and len(sizes) == 1
    except (MediaError, OSError, ValueError, SyntaxError):
        return False


def read_layers(path: Path) -> LayeredImage:
    """Read the visible layers of a file, each as large as the picture.

    Args:
        path: OpenRaster; TIFF, whose first page is the bottom; or PSD, which needs the package
            psd-tools. Groups are flattened into the list, in order; blend modes other than the
            normal one are ignored, and noted.

    Raises:
        MediaError: the file cannot be read, is too large, or psd-tools is missing.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".ora":
        return _read_ora(path)
    if suffix == ".psd":
        return _read_psd(path)
    layers = []
    with opened(path) as (image, name), decoding(name):
        for index in range(int(getattr(image, "n_frames", 1))):
            image.seek(index)
            layers.append(Layer(f"page {index + 1}", np.asarray(image.convert("RGBA"))))
    return LayeredImage(tuple(layers))


def write_ora(
    target: Path, layers: Sequence[Layer], merged: Pixels, *, overwrite: bool = False
) -> None:
    """Write an OpenRaster file.

    Args:
        target: the file.
        layers: the bottom one first, all of one size.
        merged: (H, W, 3), what they look like together.
        overwrite: replace an existing file.

    Raises:
        OutputExistsError: the file exists and ``overwrite`` is False.
        MediaError: the system refuses to write.
    """
    height, width = merged.shape[:2]
    stack = "".join(
        f'<layer name={quoteattr(layer.name)} src="data/layer{i}.png" x="0" y="0" opacity="1.0" '
        'visibility="visible" composite-op="svg:src-over"/>'
        for i, layer in reversed(list(enumerate(layers)))
    )
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<image version="0.0.3" w="{width}" h="{height}"><stack>{stack}</stack></image>\n'
    )
    whole = Image.fromarray(merged)
    thumbnail = whole.copy()
    thumbnail.thumbnail((_THUMBNAIL, _THUMBNAIL))
    with replacing(target, overwrite=overwrite) as temporary:
        # PNGs are compressed already, and the standard wants the mimetype first and plain.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("mimetype", _MIMETYPE)
            archive.writestr("stack.xml", document)
            for i, layer in enumerate(layers):
                archive.writestr(f"data/layer{i}.png", _png(Image.fromarray(layer.pixels)))
            archive.writestr("mergedimage.png", _png(whole))
            archive.writestr("Thumbnails/thumbnail.png", _png(thumbnail))


def flatten(layers: Sequence[Layer]) -> Pixels:
    """Layers, the bottom one first, over each other: (H, W, 4) with straight alpha."""
    height, width = layers[0].pixels.shape[:2]
    whole = Image.new("RGBA", (width, height))
    for layer in layers:
        whole = Image.alpha_composite(whole, Image.fromarray(layer.pixels))
    return np.asarray(whole)


def composite(layers: Sequence[Layer], background: Colour = WHITE) -> Pixels:
    """What layers, the bottom one first, look like over a plain colour: (H, W, 3)."""
    height, width = layers[0].pixels.shape[:2]
    plain = np.empty((height, width, 4), np.uint8)
    plain[:] = (*background, 255)
    return flatten([Layer("", plain), *layers])[..., :3]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _read_ora(path: Path) -> LayeredImage:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.read("mimetype").strip() != _MIMETYPE:
                raise MediaError(f"{path.name}: not an OpenRaster file")
            if archive.getinfo("stack.xml").file_size > _MAX_STACK_BYTES:
                raise MediaError(f"{path.name}: its list of layers is too long")
            document = archive.read("stack.xml")
            # OpenRaster has no use for a DTD, but entities in one can fill any memory.
            if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
                raise MediaError(f"{path.name}: not an OpenRaster file (it has a DTD)")
            root = ElementTree.fromstring(document)
            width, height = int(root.attrib["w"]), int(root.attrib["h"])
            elements = list(_visible(root))
            notes = []
            hidden = len(root.findall(".//layer")) - len(elements)
            if hidden:
                notes.append(f"{hidden} hidden layer{'s' if hidden > 1 else ''} left out")
            if width < 1 or height < 1 or width * height * max(1, len(elements)) > MAX_PIXELS:
                raise MediaError(
                    f"{path.name}: {width}x{height} in {len(elements)} layers is too much"
                )
            if len(elements) > _MAX_LAYERS:
                raise MediaError(f"{path.name}: more than {_MAX_LAYERS} layers")
            layers = []
            for element, opacity in reversed(elements):
                if element.get("composite-op", "svg:src-over") != "svg:src-over":
                    notes.append(f"blend mode of layer '{element.get('name', '')}' ignored")
                source = io.BytesIO(archive.read(element.attrib["src"]))
                with opened(source) as (image, _), decoding(path.name):
                    place = (int(element.get("x", 0)), int(element.get("y", 0)))
                    layers.append(_placed(image, (width, height), place, opacity, element))
    except MediaError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise MediaError(f"{path.name}: damaged OpenRaster file ({error})") from error
    if not layers:
        raise MediaError(f"{path.name}: no visible layer")
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))


def _visible(element: ElementTree.Element, opacity: float = 1.0) -> Iterator[tuple[Any, float]]:
    """Visible layers, the topmost first, with the opacity that they have with their groups."""
    for child in element:
        if child.get("visibility", "visible") != "visible":
            continue
        own = opacity * min(max(float(child.get("opacity", 1)), 0), 1)
        if child.tag == "layer":
            yield child, own
        elif child.tag == "stack":
            yield from _visible(child, own)


def _placed(
    image: Image.Image,
    size: tuple[int, int],
    place: tuple[int, int],
    opacity: float,
    element: ElementTree.Element,
) -> Layer:
    canvas = Image.new("RGBA", size)
    canvas.paste(image.convert("RGBA"), place)
    pixels = np.array(canvas)
    if opacity < 1:
        pixels[..., 3] = np.rint(pixels[..., 3] * opacity)
    return Layer(element.get("name", ""), pixels)


def _read_psd(path: Path) -> LayeredImage:
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise MediaError(
            f"{path.name}: reading PSD needs psd-tools", hint='pip install "iicnet[psd]"'
        ) from error
    try:
        document = PSDImage.open(path)
        if document.width * document.height > MAX_PIXELS:
            raise MediaError(f"{path.name}: {document.width}x{document.height} is too large")
        notes, layers = [], []
        size = (document.width, document.height)
        for layer in document.descendants():
            if layer.is_group():
                continue
            if not layer.is_visible():
                notes.append(f"hidden layer '{layer.name}' left out")
                continue
            image = layer.composite()
            if image is None:
                notes.append(f"empty layer '{layer.name}' left out")
                continue
            if layer.blend_mode.name != "NORMAL":
                notes.append(f"blend mode of layer '{layer.name}' ignored")
            canvas = Image.new("RGBA", size)
            canvas.paste(image.convert("RGBA"), layer.offset)
            layers.append(Layer(layer.name, np.asarray(canvas)))
    except MediaError:
        raise
    except Exception as error:  # damaged files raise nearly anything there
        raise MediaError(f"{path.name}: damaged PSD file ({error})") from error
    if not layers:
        raise MediaError(f"{path.name}: no visible layer")
    return LayeredImage(tuple(layers), tuple(notes))
