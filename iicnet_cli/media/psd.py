"""Photoshop documents (.psd), read by the optional package psd-tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from iicnet_cli.errors import MediaError
from iicnet_cli.media.layered_image import (
    Layer,
    LayeredImage,
    check_layer_count,
    check_layer_size,
    flatten,
    place_on_canvas,
)

_PICTURE_KINDS = frozenset({"pixel", "type", "shape", "smartobject", "group"})
"""Kinds of layers that have pixels of their own; others change what is below them."""
_MERGED_DIFFERENCE = 3.0
"""Merged pictures of a file may differ by this much on average from what its layers make."""


def read_psd(path: Path) -> LayeredImage:
    """Read the visible layers of a PSD.

    Raises:
        MediaError: the file is damaged, has no visible layer or is too large, or psd-tools is
            missing.
    """
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise MediaError(
            f"{path.name}: reading PSD needs psd-tools", hint='pip install "iicnet[psd]"'
        ) from error
    notes: list[str] = []
    try:
        layers = _read_document(PSDImage.open(path), path.name, notes)
    except MediaError:
        raise
    except Exception as error:  # psd-tools raises nearly anything on damaged files
        raise MediaError(f"{path.name}: damaged PSD file ({error})") from error
    if not layers:
        raise MediaError(f"{path.name}: no visible layer")
    return LayeredImage(tuple(layers), tuple(dict.fromkeys(notes)))


def _read_document(document: Any, name: str, notes: list[str]) -> list[Layer]:
    size = (document.width, document.height)
    # The picture of a layer already contains the layers that are clipped to it.
    found = list(document.descendants(include_clip=False))
    if clipped := len(list(document.descendants())) - len(found):
        notes.append(f"{clipped} clipped layer{'s' if clipped > 1 else ''} merged below")
    check_layer_count(name, size, len(found))
    layers = []
    for layer in found:
        if layer.is_group():
            if layer.blend_mode.name not in ("NORMAL", "PASS_THROUGH"):
                notes.append(f"blend mode of group '{layer.name}' ignored")
            continue
        if not layer.is_visible():
            notes.append(f"hidden layer '{layer.name}' left out")
            continue
        check_layer_size(name, size, (layer.width, layer.height))
        if layer.kind not in _PICTURE_KINDS:
            notes.append(f"{layer.kind} layer '{layer.name}' left out")
            continue
        if layer.has_effects():
            notes.append(f"effects of layer '{layer.name}' ignored")
        if layer.blend_mode.name != "NORMAL":
            notes.append(f"blend mode of layer '{layer.name}' ignored")
        image = layer.composite()
        if image is None:
            notes.append(f"empty layer '{layer.name}' left out")
            continue
        pixels = np.asarray(image.convert("RGBA"))
        placed = place_on_canvas(pixels, size, layer.offset, _group_opacity(layer, document))
        layers.append(Layer(layer.name, placed))
    if layers and document.has_preview() and _differs(document, layers):
        notes.append("its layers together look different from the merged picture in the file")
    return layers


def _differs(document: Any, layers: list[Layer]) -> bool:
    """Whether the merged picture that the file has is not what the layers make."""
    preview = document.topil()
    if preview is None or preview.size != (document.width, document.height):
        return False
    wanted = np.asarray(preview.convert("RGB")).astype(np.int16)
    if wanted.min() == wanted.max():  # programs that do not draw it leave it empty
        return False
    seen = flatten(layers)
    opaque = seen[..., 3] == 255  # what is behind the rest is not known
    difference = np.abs(seen[opaque, :3] - wanted[opaque])
    return bool(difference.size and difference.mean() > _MERGED_DIFFERENCE)


def _group_opacity(layer: Any, document: Any) -> float:
    """Return the opacity that the groups around a layer give it; its picture has its own."""
    opacity = 1.0
    group = layer.parent
    while group is not None and group is not document:
        opacity, group = opacity * group.opacity / 255, group.parent
    return opacity
