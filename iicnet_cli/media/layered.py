"""Pictures in layers: OpenRaster, multi-page TIFF, PSD."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.files import replacing
from iicnet_cli.media.stills import MAX_PIXELS, WHITE, Colour, decoding, opened, to_srgb_with_alpha
from iicnet_cli.pictures.arrays import Pixels

LAYERED_SUFFIXES = frozenset({".ora", ".psd"})
"""Of files that hold layers whatever is in them."""

_MIMETYPE = b"image/openraster"
_MAX_STACK_BYTES = 1 << 20
_MAX_LAYER_BYTES = 1 << 29
_MAX_LAYERS = 1000
# What XML 1.0 cannot hold.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
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
    if suffix in LAYERED_SUFFIXES:
        return path.is_file()
    if suffix not in (".tif", ".tiff"):
        return False
    try:
        with opened(path) as (image, name), decoding(name):
            return len(pages := _page_sizes(image)) > 1 and len(set(pages)) == 1
    except MediaError:
        return False


def read_layers(path: Path) -> LayeredImage:
    """Read the visible layers of a file, each as large as the picture.

    Args:
        path: OpenRaster; TIFF, whose first page is the bottom; or PSD, which needs the package
            psd-tools. Groups are flattened into the list, in order, and give their layers their
            opacity; blend modes other than the normal one are ignored, and noted. In a PSD, a
            clipped layer is merged into the one that it is clipped to.

    Raises:
        MediaError: the file cannot be read or holds no layers, its layers have more than 500
            megapixels together, or psd-tools is missing.
    """
    if not path.is_file():
        raise MediaError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".ora":
        return _read_ora(path)
    if suffix == ".psd":
        return _read_psd(path)
    layers = []
    notes: list[str] = []
    with opened(path) as (image, name), decoding(name):
        if image.format != "TIFF":
            raise MediaError(
                f"{name}: holds no layers", hint="use .ora, .psd or a TIFF of several pages"
            )
        sizes = _page_sizes(image)
        _check_amount(name, *max(sizes, key=math.prod), len(sizes))
        for index in range(len(sizes)):
            image.seek(index)
            layers.append(Layer(f"page {index + 1}", to_srgb_with_alpha(image, notes)))
        if len({layer.pixels.shape for layer in layers}) > 1:
            raise MediaError(f"{name}: its pages differ in size, so they are no layers")
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))


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
        UsageError: the layers and ``merged`` differ in size.
        OutputExistsError: the file exists and ``overwrite`` is False.
        MediaError: the system refuses to write.
    """
    height, width = merged.shape[:2]
    if any(layer.pixels.shape != (height, width, 4) for layer in layers):
        raise UsageError("the layers and the merged picture must have one size")
    names = [quoteattr(_NO_XML.sub("?", layer.name)) for layer in layers]
    stack = "".join(
        f'<layer name={names[i]} src="data/layer{i}.png" x="0" y="0" opacity="1.0" '
        'visibility="visible" composite-op="svg:src-over"/>'
        for i in reversed(range(len(layers)))
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
    return np.array(whole)


def composite(layers: Sequence[Layer], background: Colour = WHITE) -> Pixels:
    """What layers, the bottom one first, look like over a plain colour: (H, W, 3)."""
    height, width = layers[0].pixels.shape[:2]
    plain = np.empty((height, width, 4), np.uint8)
    plain[:] = (*background, 255)
    return np.ascontiguousarray(flatten([Layer("", plain), *layers])[..., :3])


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _page_sizes(image: Image.Image) -> list[tuple[int, int]]:
    sizes = []
    for index in range(int(getattr(image, "n_frames", 1))):
        image.seek(index)
        sizes.append(image.size)
    return sizes


def _check_amount(name: str, width: int, height: int, layers: int) -> None:
    """Refuse what would not fit in memory: every layer is as large as the picture."""
    if width < 1 or height < 1 or width * height * max(1, layers) > MAX_PIXELS:
        raise MediaError(
            f"{name}: {width}x{height} in {layers} layers is too much",
            hint="make it smaller, or merge layers",
        )
    if layers > _MAX_LAYERS:
        raise MediaError(f"{name}: more than {_MAX_LAYERS} layers", hint="merge some of them")


class _NoDTD(ElementTree.TreeBuilder):
    """OpenRaster has no use for a DTD, but entities in one can fill any memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("it has a DTD")


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    # zipfile never inflates more than the size that the archive declares.
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} is longer than {limit} bytes")
    return archive.read(name)


def _read_ora(path: Path) -> LayeredImage:
    try:
        with zipfile.ZipFile(path) as archive:
            if _member(archive, "mimetype", 1024).strip() != _MIMETYPE:
                raise MediaError(f"{path.name}: not an OpenRaster file")
            document = _member(archive, "stack.xml", _MAX_STACK_BYTES)
            root = ElementTree.fromstring(document, ElementTree.XMLParser(target=_NoDTD()))
            width, height = int(root.attrib["w"]), int(root.attrib["h"])
            notes: list[str] = []
            elements = list(_visible(root, notes))
            hidden = len(root.findall(".//layer")) - len(elements)
            if hidden:
                notes.append(f"{hidden} hidden layer{'s' if hidden > 1 else ''} left out")
            _check_amount(path.name, width, height, len(elements))
            layers = []
            for element, opacity, place in reversed(elements):
                data = _member(archive, element.attrib["src"], _MAX_LAYER_BYTES)
                pixels = _layer_pixels(data, path.name, notes)
                placed = _placed(pixels, (width, height), place, opacity)
                layers.append(Layer(element.get("name", ""), placed))
    except MediaError:
        raise
    # RuntimeError: encrypted, packed in an unknown way, or nested too deeply.
    except (
        *(OSError, EOFError, KeyError, ValueError, OverflowError, RuntimeError),
        *(zlib.error, zipfile.BadZipFile, ElementTree.ParseError),
    ) as error:
        raise MediaError(f"{path.name}: damaged OpenRaster file ({error})") from error
    if not layers:
        raise MediaError(f"{path.name}: no visible layer")
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))


def _visible(
    element: ElementTree.Element,
    notes: list[str],
    opacity: float = 1.0,
    x: int = 0,
    y: int = 0,
) -> Iterator[tuple[ElementTree.Element, float, tuple[int, int]]]:
    """Visible layers, the topmost first, with the opacity and place that their groups give them."""
    for child in element:
        if child.tag not in ("layer", "stack") or child.get("visibility") == "hidden":
            continue
        if child.get("composite-op", "svg:src-over") != "svg:src-over":
            kind = "layer" if child.tag == "layer" else "group"
            notes.append(f"blend mode of {kind} '{child.get('name', '')}' ignored")
        own = opacity * min(max(float(child.get("opacity", 1)), 0), 1)
        left, top = x + int(child.get("x", 0)), y + int(child.get("y", 0))
        if child.tag == "layer":
            yield child, own, (left, top)
        else:
            yield from _visible(child, notes, own, left, top)


def _layer_pixels(data: bytes, name: str, notes: list[str]) -> Pixels:
    file = io.BytesIO(data)
    file.name = name  # for the messages of opened()
    with opened(file) as (image, _), decoding(name):
        return to_srgb_with_alpha(image, notes)


def _placed(
    pixels: Pixels, size: tuple[int, int], place: tuple[int, int], opacity: float
) -> Pixels:
    """A layer of any size and place on a transparent canvas of ``size`` (width, height)."""
    canvas = Image.new("RGBA", size)
    canvas.paste(Image.fromarray(pixels), place)
    placed = np.array(canvas)
    if opacity < 1:
        placed[..., 3] = np.rint(placed[..., 3] * opacity)
    return placed


def _read_psd(path: Path) -> LayeredImage:
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise MediaError(
            f"{path.name}: reading PSD needs psd-tools", hint='pip install "iicnet[psd]"'
        ) from error
    try:
        document = PSDImage.open(path)
        notes: list[str] = []
        layers = []
        size = (document.width, document.height)
        # The picture of a layer has those that are clipped to it in it already.
        found = list(document.descendants(include_clip=False))
        if clipped := len(list(document.descendants())) - len(found):
            notes.append(f"{clipped} clipped layer{'s' if clipped > 1 else ''} merged below")
        _check_amount(path.name, *size, len(found))
        for layer in found:
            if layer.is_group():
                if layer.blend_mode.name not in ("NORMAL", "PASS_THROUGH"):
                    notes.append(f"blend mode of group '{layer.name}' ignored")
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
            pixels = np.asarray(image.convert("RGBA"))
            opacity = 1.0
            group: Any = layer.parent
            while group is not None and group is not document:
                opacity, group = opacity * group.opacity / 255, group.parent
            layers.append(Layer(layer.name, _placed(pixels, size, layer.offset, opacity)))
    except MediaError:
        raise
    except Exception as error:  # damaged files raise nearly anything there
        raise MediaError(f"{path.name}: damaged PSD file ({error})") from error
    if not layers:
        raise MediaError(f"{path.name}: no visible layer")
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))
