"""A composed picture that holds its layers (paper, section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from iicnet_cli.container.header import Header
from iicnet_cli.errors import DamagedError, UsageError
from iicnet_cli.media.files import check_target, named_after
from iicnet_cli.media.layered_files import is_layered, read_layers
from iicnet_cli.media.layered_image import Layer, composite, flatten
from iicnet_cli.media.openraster import write_ora
from iicnet_cli.media.stills import (
    has_alpha,
    read_still,
    read_still_with_alpha,
    still_size,
    write_still,
)
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.photos import (
    Photo,
    PhotoSource,
    PhotoTask,
    check_photo_folder,
    check_same_size,
    photos_in,
    restored_photos,
    stills_in,
    write_photos,
)
from iicnet_cli.tasks.task import Delivered, EvaluationItem

ROLES = ("composite", "background", "foreground")
"""Roles of the pictures, in the order of the published networks."""


class LayersTask(PhotoTask):
    """The composed picture, which is the reference, its background and perhaps its foreground.

    The network has no alpha channel: a foreground with transparency is composited on the colour of
    ``--background``.
    """

    name = "layers"
    needs = (
        "a foreground with transparency and a background; or the composed picture, foreground and "
        "background; or the composed picture and background; or one .ora, .psd or multi-page TIFF"
    )
    pictures = "layers"

    def pictures_per_group(self, inputs: Sequence[Path]) -> int:
        return 2 if len(inputs) == 2 and not has_alpha(inputs[0]) else 3

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PhotoSource:
        if len(inputs) == 1 and is_layered(inputs[0]):
            photos, notes = _from_layers(inputs[0], options)
        elif len(inputs) in (2, 3):
            photos, notes = _from_files(inputs, options)
        else:
            raise UsageError(f"layers needs {self.needs}")
        if images is not None and len(photos) < images:
            raise UsageError(
                f"the model takes {images} pictures, the inputs make {len(photos)}",
                hint="leave --model out to get the one that fits",
            )
        check_same_size(photos, self.name)
        colour = "#{:02x}{:02x}{:02x}".format(*options.background)
        return PhotoSource(photos[:images], notes, options={"background": colour}, files=inputs)

    def default_output(self, png: Path, header: Header) -> Path:
        return named_after(png, "-restored")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write each picture as ``NAME.png`` into a folder, or all in one OpenRaster file.

        The foreground of an ``.ora`` gets an alpha channel, estimated from the three pictures.
        """
        is_file = target.suffix.lower() == ".ora"
        if is_file:
            check_target(target, overwrite)
        else:
            check_photo_folder(target, self.name)
        group = next(groups)
        photos = restored_photos(header, group, ROLES[: len(group.pictures)])
        if not is_file:
            return write_photos(photos, target, overwrite=overwrite)
        if len({photo.pixels.shape for photo in photos}) > 1:
            raise DamagedError(
                "the header gives the layers different sizes", hint="restore into a folder"
            )
        layers = [Layer(ROLES[1], _opaque(photos[1].pixels))]
        if len(photos) > 2:
            on = _colour(header)
            pixels = estimate_alpha(*(photo.pixels for photo in photos), on=on)
            layers.append(Layer(ROLES[2], pixels))
        write_ora(target, layers, photos[0].pixels, overwrite=overwrite)
        return Delivered((target,), len(photos))

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every still with transparency before every photo.

        Cut-outs may lie in a sub-folder ``cutouts``, photos in a sub-folder ``backgrounds``.
        """
        stills = [*stills_in(folder), *stills_in(folder / "cutouts")]
        fronts = [path for path in stills if has_alpha(path)]
        backs = photos_in(folder / "backgrounds") or photos_in(folder)
        items = []
        for front, back in product(fronts, backs):
            name = f"{front.stem} on {back.stem}"
            fitted, composed = scratch / f"{name}.png", scratch / f"{name} composed.png"
            size = still_size(back)
            with Image.open(front) as cutout:
                layer = ImageOps.pad(cutout.convert("RGBA"), size, centering=(0.5, 1))
            layer.save(fitted)
            inputs = (fitted, back)
            if images == 2:
                below = Layer("background", _opaque(read_still(back).pixels))
                write_still(composed, composite([below, Layer("foreground", np.array(layer))]))
                inputs = (composed, back)
            items.append(EvaluationItem(name, inputs))
        return items


def estimate_alpha(
    composed: Pixels, background: Pixels, foreground: Pixels, *, on: tuple[int, int, int]
) -> Pixels:
    """Estimate the alpha channel of the foreground from the three pictures.

    With alpha a and colour F, the composed picture is a F + (1 - a) background, and the foreground
    as given is a F + (1 - a) on. Their difference gives a by least squares over the three channels.
    Where the background equals ``on``, a is 1 unless the foreground equals it, too.

    Args:
        composed: (H, W, 3).
        background: (H, W, 3).
        foreground: (H, W, 3), composited on the colour ``on``.
        on: R, G, B.

    Returns:
        (H, W, 4), straight alpha.
    """
    flat = np.array(on, np.float64)
    known = background - flat
    # Where background and flat colour are similar, a prior keeps noise from deciding.
    opaque = (np.abs(foreground - flat).max(axis=-1) > 8).astype(np.float64)
    weight = 64.0
    through = ((composed.astype(np.float64) - foreground) * known).sum(-1) + weight * (1 - opaque)
    through = np.clip(through / (np.square(known).sum(-1) + weight), 0, 1)
    alpha = np.rint(255 * (1 - through))
    share = np.maximum(alpha, 1)[..., None] / 255
    colour = np.where(alpha[..., None] > 0, flat + (foreground - flat) / share, flat)
    return np.concatenate([np.rint(colour).clip(0, 255), alpha[..., None]], -1).astype(np.uint8)


def _from_files(inputs: Sequence[Path], options: EmbedOptions) -> tuple[list[Photo], list[str]]:
    if len(inputs) == 2 and has_alpha(inputs[0]):
        front = read_still_with_alpha(inputs[0])
        back = read_still(inputs[1], background=options.background)
        notes = [f"{s.name}: {note}" for s in (front, back) for note in s.notes]
        check_same_size(
            [Photo(front.name, front.pixels[..., :3]), Photo(back.name, back.pixels)], "layers"
        )
        layers = [Layer("background", _opaque(back.pixels)), Layer("foreground", front.pixels)]
        return [
            Photo("composite.png", composite(layers)),
            Photo(back.name, back.pixels, inputs[1]),
            Photo(front.name, composite(layers[1:], options.background)),
        ], notes
    stills = [read_still(path, background=options.background) for path in inputs]
    notes = [f"{still.name}: {note}" for still in stills for note in still.notes]
    photos = [
        Photo(still.name, still.pixels, path) for still, path in zip(stills, inputs, strict=True)
    ]
    # Given as composed, foreground, background; the network wants the background second.
    return [photos[0], *photos[:0:-1]], notes


def _from_layers(path: Path, options: EmbedOptions) -> tuple[list[Photo], list[str]]:
    image = read_layers(path)
    notes = [f"{path.name}: {note}" for note in image.notes]
    bottom, *others = image.layers
    if not others:
        raise UsageError(
            f"{path.name} has one layer; at least two are needed", hint="; ".join(image.notes)
        )
    if len(others) > 1:
        notes.append(f"{path.name}: the upper {len(others)} layers are merged into one")
    front = Layer("foreground", flatten(others))
    if bottom.pixels[..., 3].min() < 255:
        notes.append(f"{path.name}: the bottom layer is composited on the background colour")
    back = composite([bottom], options.background)
    return [
        Photo("composite.png", composite([Layer("background", _opaque(back)), front])),
        Photo("background.png", back),
        Photo("foreground.png", composite([front], options.background)),
    ], notes


def _opaque(pixels: Pixels) -> NDArray[np.uint8]:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _colour(header: Header) -> tuple[int, int, int]:
    """The colour that the foreground was composited on, as the header says; white by default."""
    value: Any = header.options.get("background", "white")
    try:
        red, green, blue = ImageColor.getrgb(str(value))[:3]
    except ValueError:
        return (255, 255, 255)
    return red, green, blue
