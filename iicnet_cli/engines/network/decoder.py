"""From an embedding back to its group of pictures.

::

    embedding --network--> pictures --+ enhancement layer--> --static region--> --+ prediction-->
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from iicnet_cli.engines.base import SideInfo
from iicnet_cli.engines.network.enhancement_layer import add_layer
from iicnet_cli.errors import DamagedError
from iicnet_cli.inference.runner import Passes, Tick, ignore_tick
from iicnet_cli.motion.field import MotionField
from iicnet_cli.motion.lifting import add_prediction
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import (
    FRACTION,
    FixedPoint,
    PixelArray,
    Pixels,
    crop,
    from_fixed_point,
    pad,
    padding_to,
)
from iicnet_cli.quantize.lattice import UnroundedEmbedding


@dataclass(frozen=True)
class Carried:
    """What an embedding carries for its pictures, according to its mark and the header.

    Attributes:
        layer: bytes of the enhancement layer, or empty.
        region: the static region, or ``None``.
        motion: bytes of the motion field, or empty.
    """

    layer: bytes = b""
    region: StaticRegion | None = None
    motion: bytes = b""

    @classmethod
    def from_mark_and_header(
        cls, mark: Mark | None, header: SideInfo, shape: tuple[int, ...] | None
    ) -> Carried:
        """Prefer what the header repeats, and take the rest from the mark.

        Both may come from anyone: a static region of another size is ignored.

        Args:
            mark: in the pixels; ``None`` if it was lost.
            header: what the header repeats of the mark.
            shape: of the embedding; ``None`` if it is smaller than the pictures, and so can have no
                static region.
        """
        region = StaticRegion.from_bytes(
            header.static_region or (mark.static_region_bytes if mark else b"")
        )
        fits = region is not None and shape is not None and region.fits(shape)
        return cls(
            layer=mark.enhancement if mark else b"",
            region=region if fits else None,
            motion=header.motion or (mark.motion if mark else b""),
        )


def restore_before_prediction(
    passes: Passes,
    embedding: Pixels | UnroundedEmbedding,
    wanted: PixelArray,
    region: StaticRegion | None,
    rows: slice | None = None,
) -> FixedPoint:
    """What the network restores, with the static region put back; without layer and prediction.

    Args:
        passes: the network.
        embedding: (H_e, W_e, C_e), as it is read, or as it was before it was rounded.
        wanted: (K, H, W, C), the pictures that the network got; they say range and size.
        region: where the embedding shows the pictures unchanged.
        rows: these rows of the pictures only; all by default.

    Returns:
        (K, h, W, C) in fixed point.
    """
    rows = rows or slice(0, wanted.shape[1])
    restored = passes.restore_fixed_point(embedding, wanted.dtype, rows)
    restored = restored[:, :, : wanted.shape[2]]
    if region is not None:
        pixels = embedding if isinstance(embedding, np.ndarray) else embedding.pixels
        region.copy_into(restored, pixels, rows.start, scale=FRACTION)
    return restored


def decode_pictures(
    passes: Passes,
    embedding: Pixels,
    carried: Carried,
    size: tuple[int, int],
    dtype: DTypeLike,
    tick: Tick = ignore_tick,
) -> PixelArray:
    """What a rounded embedding restores, before the prediction is added.

    Args:
        passes: the network.
        embedding: (H_e, W_e, C_e).
        carried: what the embedding carries for its pictures.
        size: width and height of the pictures.
        dtype: uint8, or int16 for pictures that may lie outside of 0..255.
        tick: called after each tile.

    Returns:
        (K, H, W, C) of that type.
    """
    pictures: PixelArray
    if carried.layer:
        fixed = crop(passes.restore_fixed_point(embedding, dtype, tick=tick), *size)
        add_layer(carried.layer, fixed)
        pictures = from_fixed_point(fixed, dtype, out=fixed)
    else:
        pictures = crop(passes.restore(embedding, dtype, tick), *size)
    if carried.region is not None:
        carried.region.copy_into(pictures, embedding)
    return pictures


def decode_group(
    passes: Passes,
    embedding: Pixels,
    carried: Carried,
    size: tuple[int, int],
    tick: Tick = ignore_tick,
) -> Pixels:
    """Restore the pictures of one embedding.

    Args:
        passes: the network.
        embedding: (H_e, W_e) or (H_e, W_e, C) uint8; of a cropped picture, any size.
        carried: what it carries for its pictures.
        size: width and height of the pictures.
        tick: called after each tile.

    Returns:
        (K, H, W, C) uint8.

    Raises:
        DamagedError: the embedding is grey, but the network's embeddings are in colour.
    """
    embedding = with_channels(embedding, passes.config.embedding_channels)
    height, width = embedding.shape[:2]
    multiple = passes.config.multiple // passes.scale
    embedding = pad(embedding[None], padding_to(width, height, multiple))[0]
    dtype = np.int16 if carried.motion else np.uint8
    pictures = decode_pictures(passes, embedding, carried, size, dtype, tick)
    if not carried.motion:
        return pictures.astype(np.uint8, copy=False)
    return add_prediction(pictures, MotionField.from_bytes(carried.motion, len(pictures) - 1))


def with_channels(embedding: Pixels, channels: int) -> Pixels:
    """(H, W) or (H, W, 3) as (H, W, channels).

    Raises:
        DamagedError: the picture is grey where colour is needed.
    """
    if channels == 1:
        grey = embedding if embedding.ndim == 2 else embedding[..., 1]
        return grey[..., None]
    if embedding.ndim == 2:
        raise DamagedError(
            "the PNG is grey, but the model's embeddings are in colour",
            hint="restore from the original PNG",
        )
    return embedding
