"""OpenRaster (.ora): a zip of PNGs and an XML document that says how they are stacked."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from PIL import Image

from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.colour import to_srgb_with_alpha
from iicnet_cli.media.files import replacing
from iicnet_cli.media.layered_image import (
    Layer,
    LayeredImage,
    check_layer_count,
    check_layer_size,
    place_on_canvas,
)
from iicnet_cli.media.pillow_files import decoding, open_image
from iicnet_cli.pictures.arrays import Pixels

MAX_STACK_BYTES = 1 << 20
"""Files whose XML document is longer than this are refused before it is inflated."""

MAX_LAYER_BYTES = 1 << 29
"""Files with a layer whose PNG is longer than this are refused before it is inflated."""

_MIMETYPE = b"image/openraster"
_MAX_MIMETYPE_BYTES = 1024
_NORMAL_BLENDING = "svg:src-over"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_THUMBNAIL_SIDE = 256


def read_openraster(path: Path) -> LayeredImage:
    """Read the visible layers of an OpenRaster file.

    Raises:
        MediaError: the file is damaged or no OpenRaster, has no visible layer, or is too large.
    """
    notes: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            layers = _read_archive(archive, path.name, notes)
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


def write_ora(
    target: Path, layers: Sequence[Layer], merged: Pixels, *, overwrite: bool = False
) -> None:
    """Write an OpenRaster file.

    Args:
        target: the file.
        layers: all of one size, the bottom one first.
        merged: uint8 (H, W, 3), how the layers look together.
        overwrite: replace an existing file.

    Raises:
        UsageError: the layers and ``merged`` differ in size.
        OutputExistsError: the file exists and ``overwrite`` is false.
        MediaError: the system refuses to write.
    """
    height, width = merged.shape[:2]
    if any(layer.pixels.shape != (height, width, 4) for layer in layers):
        raise UsageError("the layers and the merged picture must have one size")
    merged_image = Image.fromarray(merged)
    thumbnail = merged_image.copy()
    thumbnail.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    with replacing(target, overwrite=overwrite) as temporary:
        # PNGs are compressed already, and the standard wants the mimetype first and uncompressed.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("mimetype", _MIMETYPE)
            archive.writestr("stack.xml", _stack_document(layers, width, height))
            for i, layer in enumerate(layers):
                archive.writestr(f"data/layer{i}.png", _encode_png(Image.fromarray(layer.pixels)))
            archive.writestr("mergedimage.png", _encode_png(merged_image))
            archive.writestr("Thumbnails/thumbnail.png", _encode_png(thumbnail))


def _stack_document(layers: Sequence[Layer], width: int, height: int) -> str:
    names = [quoteattr(_NOT_IN_XML.sub("?", layer.name)) for layer in layers]
    # The topmost layer comes first.
    stack = "".join(
        f'<layer name={names[i]} src="data/layer{i}.png" x="0" y="0" opacity="1.0" '
        f'visibility="visible" composite-op="{_NORMAL_BLENDING}"/>'
        for i in reversed(range(len(layers)))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<image version="0.0.3" w="{width}" h="{height}"><stack>{stack}</stack></image>\n'
    )


def _encode_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


class _WithoutDTD(ElementTree.TreeBuilder):
    """Refuses a DTD: OpenRaster needs none, and entities in one can fill any memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ElementTree.ParseError("it has a DTD")


@dataclass(frozen=True)
class _PlacedElement:
    """A visible ``layer`` element, with the opacity and position that its groups give it."""

    element: ElementTree.Element
    opacity: float
    position: tuple[int, int]


def _read_archive(archive: zipfile.ZipFile, name: str, notes: list[str]) -> list[Layer]:
    if _read_member(archive, "mimetype", _MAX_MIMETYPE_BYTES).strip() != _MIMETYPE:
        raise MediaError(f"{name}: not an OpenRaster file")
    document = _read_member(archive, "stack.xml", MAX_STACK_BYTES)
    root = ElementTree.fromstring(document, ElementTree.XMLParser(target=_WithoutDTD()))
    size = int(root.attrib["w"]), int(root.attrib["h"])
    visible = list(_visible_layers(root, notes))
    hidden = len(root.findall(".//layer")) - len(visible)
    if hidden:
        notes.append(f"{hidden} hidden layer{'s' if hidden > 1 else ''} left out")
    check_layer_count(name, size, len(visible))
    layers = []
    for placed in reversed(visible):
        data = _read_member(archive, placed.element.attrib["src"], MAX_LAYER_BYTES)
        pixels = _decode_layer(data, name, size, notes)
        pixels = place_on_canvas(pixels, size, placed.position, placed.opacity)
        layers.append(Layer(placed.element.get("name", ""), pixels))
    return layers


def _read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    # zipfile never inflates more than the size that the archive declares.
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} is longer than {limit} bytes")
    return archive.read(name)


def _visible_layers(
    group: ElementTree.Element,
    notes: list[str],
    opacity: float = 1.0,
    x: int = 0,
    y: int = 0,
) -> Iterator[_PlacedElement]:
    """Yield the visible layers of a group, the topmost first."""
    for child in group:
        if child.tag not in ("layer", "stack") or child.get("visibility") == "hidden":
            continue
        if child.get("composite-op", _NORMAL_BLENDING) != _NORMAL_BLENDING:
            kind = "layer" if child.tag == "layer" else "group"
            notes.append(f"blend mode of {kind} '{child.get('name', '')}' ignored")
        child_opacity = opacity * min(max(float(child.get("opacity", 1)), 0), 1)
        left, top = x + int(child.get("x", 0)), y + int(child.get("y", 0))
        if child.tag == "layer":
            yield _PlacedElement(child, child_opacity, (left, top))
        else:
            yield from _visible_layers(child, notes, child_opacity, left, top)


def _decode_layer(data: bytes, name: str, canvas: tuple[int, int], notes: list[str]) -> Pixels:
    file = io.BytesIO(data)
    file.name = name  # for messages
    with open_image(file) as (image, _), decoding(name):
        check_layer_size(name, canvas, image.size)
        return to_srgb_with_alpha(image, notes)
