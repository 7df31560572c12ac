"""What embedding will take and give, told from small windows of the pictures."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iicnet_cli.engines.network.search import Target
from iicnet_cli.engines.network.sliced_encoder import complete, enhanced
from iicnet_cli.engines.network.static_region import copy_static_region, find_static_region
from iicnet_cli.inference.runner import Runner
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import write_mark
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels, from_fixed_point
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.lattice import UnroundedEmbedding

WINDOW = 128
"""Side of a window, in pixels of the pictures."""
_TIMED_STEPS = 16
"""Of a search; the layer is coded twice in them."""
_LAID_AGAIN = 2.5
"""Times that a search marks an embedding, beside the first: with more bits until these are too
many, and at the end."""


@dataclass(frozen=True)
class GroupForecast:
    """For the PNG of one group of pictures.

    Attributes:
        tiles: that each pass is cut into.
        seconds: to embed (with the search, if any), write, read back and restore.
        bytes: of the PNG.
        embed_psnr: dB, of the network's own embedding.
        restored_psnr: dB, mean over all pictures.
    """

    tiles: int
    seconds: float
    bytes: int
    embed_psnr: float
    restored_psnr: float


def forecast(
    runner: Runner, images: PixelArray, search_steps: int = 0, *, enhance: bool = True
) -> GroupForecast:
    """Embed and restore a few windows of the pictures, and draw the conclusion for the whole.

    Args:
        runner: the network.
        images: (K, H, W, C), padded to the network's multiple.
        search_steps: of :meth:`Runner.improve`; what it will gain is not told.
        enhance: with an enhancement layer.
    """
    height, width = images.shape[1:3]
    windows = _windows(height, width, runner.config.multiple)
    runner.restore(runner.embed(images[:, *windows[0]]))  # the first call sets up much
    parts = [np.ascontiguousarray(images[:, *window]) for window in windows]
    area = sum(part.shape[1] * part.shape[2] for part in parts)
    began = time.perf_counter()
    embeddings = [runner.embed_unrounded(part) for part in parts]
    # Together, as if they were one picture: a layer for each would be too small.
    unrounded = UnroundedEmbedding(
        np.concatenate([each.pixels for each in embeddings]),
        np.concatenate([each.residual for each in embeddings]),
    )
    wanted = np.concatenate(parts, axis=1)

    def restored_from(
        embedding: Pixels, remainder: NDArray[np.int8] | None, rows: slice
    ) -> FixedPoint:
        high = parts[0].shape[1]
        some = range(rows.start // high, -(-rows.stop // high))
        shown = np.split(embedding, len(parts))
        rests = [None] * len(parts) if remainder is None else np.split(remainder, len(parts))
        restored = np.concatenate(
            [runner.restore_fixed_point(shown[i], images.dtype, rests[i]) for i in some], axis=1
        )
        return restored[:, rows.start - some.start * high : rows.stop - some.start * high]

    mark = Mark(task=0, model=0, images=len(images), valid=1)
    if common := copy_static_region(wanted, unrounded):
        mark = replace(mark, static_region_bytes=common.to_bytes())
    reference = np.concatenate([runner.reference(part) for part in parts])
    laying = time.perf_counter()
    if enhance:
        mark, embedding = enhanced(
            mark,
            wanted,
            unrounded,
            runner.feedback,
            restored_from,
            unrounded.mse(reference),
            thorough=search_steps > 0,
        )
    else:
        embedding = write_mark(unrounded, mark, runner.feedback)
    laying = time.perf_counter() - laying
    restored = restored_from(embedding, None, slice(0, wanted.shape[1]))
    complete(mark, embedding, restored)
    shown = np.split(embedding, len(parts))
    files = [io.BytesIO() for _ in shown]
    for picture, file in zip(shown, files, strict=True):
        Image.fromarray(picture.squeeze()).save(file, "PNG")
    seconds = time.perf_counter() - began
    size = sum(len(file.getbuffer()) for file in files)
    # Nothing is lost in what pictures have in common, and windows may have more or less of that.
    scale = runner.scale
    shape = height // scale, width // scale, runner.config.embedding_channels
    whole_area = find_static_region(images, shape)
    opened = [1 - float(area.cells.mean()) if area else 1.0 for area in (whole_area, common)]
    of_whole = opened[0] / opened[1] if opened[1] else 1.0
    psnrs = [
        cap_psnr(mse_to_psnr(of_whole * mse(a, from_fixed_point(b, a.dtype))))
        for a, b in zip(wanted, restored, strict=True)
    ]
    tiles = runner.tiles(height, width)
    computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in tiles)
    total = seconds / area * computed
    if search_steps:
        part = parts[0]
        room = len(mark.enhancement) // len(parts)
        runner.improve(part, embeddings[0], 1, Target())  # likewise
        began = time.perf_counter()
        runner.improve(part, embeddings[0], _TIMED_STEPS, Target(), room=room)
        step = (time.perf_counter() - began) / (part.shape[1] * part.shape[2] * _TIMED_STEPS)
        searched = runner.tiles(height, width, searching=True)
        computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in searched)
        total += step * computed * search_steps + _LAID_AGAIN * laying / area * height * width
    return GroupForecast(
        tiles=len(tiles),
        seconds=total,
        bytes=round(size / area * height * width),
        embed_psnr=cap_psnr(mse_to_psnr(of_whole * mse(embedding, reference))),
        restored_psnr=float(np.mean(psnrs)),
    )


def _windows(height: int, width: int, multiple: int) -> list[tuple[slice, slice]]:
    """Up to nine windows, spread evenly; the whole of a small picture."""

    def spans(length: int) -> list[slice]:
        size = min(WINDOW, length)
        count = min(3, length // size)
        starts = [(length - size) * (2 * i + 1) // (2 * count) for i in range(count)]
        return [slice(s // multiple * multiple, s // multiple * multiple + size) for s in starts]

    return [(y, x) for y in spans(height) for x in spans(width)]
