"""What embedding will cost and give, estimated from small windows of the pictures.

The windows are put below each other and encoded as if they were one picture, because an enhancement
layer for each of them would be too small.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image

from iicnet_cli.engines.base import EncodingEstimate
from iicnet_cli.engines.network.encoder import EncoderSettings, encode_group
from iicnet_cli.engines.network.search import Search, Target, refine_tiles
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.engines.network.static_region import find_static_region
from iicnet_cli.inference.runner import Runner, Tick, ignore_tick
from iicnet_cli.network import IICNetConfig
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding

WINDOW_SIDE = 256
"""Side of a window, in pixels of the pictures; smaller tensors are computed more slowly."""
_TIMED_STEPS = 16
"""A search is timed over this many steps; the layer is coded twice in them."""
_ENCODINGS_OF_SEARCH = 2.5
"""A search encodes about this many embeddings besides the first: with more bits until these are too
many, and at the end."""


def estimate_group(
    runner: Runner,
    images: PixelArray,
    motion_bytes: int,
    settings: EncoderSettings,
    search: Search | None = None,
) -> EncodingEstimate:
    """Encode and decode a few windows of a group, and scale the result to the whole.

    Args:
        runner: the network.
        images: (K, H, W, C) after prediction, padded to the network's multiple.
        motion_bytes: size of the motion field that the mark has to carry.
        settings: as for :func:`encode_group`.
        search: its time is estimated, but not what it gains.
    """
    height, width = images.shape[1:3]
    windows = _windows(height, width, runner.config.multiple)
    runner.restore(runner.embed(images[:, *windows[0]]).pixels)  # the first call is slow
    passes = _WindowedPasses(runner, len(windows))
    wanted = np.concatenate([images[:, *window] for window in windows], axis=1)
    area = wanted.shape[1] * wanted.shape[2]
    share = area / (height * width)
    mark = Mark.for_measuring(len(images), motion=bytes(round(motion_bytes * share)))
    began = time.perf_counter()
    encoded = encode_group(passes, wanted, mark, replace(settings, thorough=search is not None))
    encoding_seconds = time.perf_counter() - began
    restored = restored_pictures(passes, encoded.mark, encoded.pixels, wanted)
    size = sum(_png_size(part) for part in np.split(encoded.pixels, len(windows)))
    seconds = time.perf_counter() - began

    tiles = runner.tiles(height, width)
    computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in tiles)
    total_seconds = seconds / area * computed
    if search is not None:
        total_seconds += _search_seconds(
            runner, images, windows[0], search, len(encoded.mark.enhancement) // len(windows)
        )
        total_seconds += _ENCODINGS_OF_SEARCH * encoding_seconds / share
    error_scale = _open_share_ratio(images, wanted, passes)
    psnrs = [
        cap_psnr(mse_to_psnr(error_scale * mse(a, b)))
        for a, b in zip(wanted, restored, strict=True)
    ]
    embedding_mse = error_scale * mse(encoded.pixels, passes.reference(wanted))
    return EncodingEstimate(
        tiles=len(tiles),
        seconds=total_seconds,
        bytes=round(size / share),
        embed_psnr=cap_psnr(mse_to_psnr(embedding_mse)),
        restored_psnr=float(np.mean(psnrs)),
    )


class _WindowedPasses:
    """Passes of a network over windows that lie below each other in one tall picture.

    Args:
        runner: the network.
        count: number of windows; they have equal heights.
    """

    def __init__(self, runner: Runner, count: int) -> None:
        self._runner = runner
        self._count = count
        self.config: IICNetConfig = runner.config
        self.noise_shaping: NoiseShapingFilter | None = runner.noise_shaping

    @property
    def scale(self) -> int:
        return self._runner.scale

    def reference(self, images: PixelArray) -> Pixels:
        return np.concatenate([self._runner.reference(part) for part in self._split(images)])

    def embed(self, images: PixelArray, tick: Tick = ignore_tick) -> UnroundedEmbedding:
        parts = [self._runner.embed(np.ascontiguousarray(part)) for part in self._split(images)]
        return UnroundedEmbedding(
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.residual for part in parts]),
        )

    def restore_fixed_point(
        self,
        embedding: Pixels | UnroundedEmbedding,
        dtype: DTypeLike = np.uint8,
        rows: slice | None = None,
        tick: Tick = ignore_tick,
    ) -> FixedPoint:
        pixels = embedding if isinstance(embedding, np.ndarray) else embedding.pixels
        window = len(pixels) // self._count
        height = window * self.scale
        rows = rows or slice(0, self._count * height)
        some = range(rows.start // height, -(-rows.stop // height))
        restored = np.concatenate(
            [
                self._runner.restore_fixed_point(embedding[i * window : (i + 1) * window], dtype)
                for i in some
            ],
            axis=1,
        )
        return restored[:, rows.start - some.start * height : rows.stop - some.start * height]

    def restore_areas(
        self, embedding: UnroundedEmbedding, dtype: DTypeLike, areas: Sequence[slice]
    ) -> list[FixedPoint]:
        return [self.restore_fixed_point(embedding, dtype, rows) for rows in areas]

    def restore(
        self, embedding: Pixels, dtype: DTypeLike = np.uint8, tick: Tick = ignore_tick
    ) -> PixelArray:
        parts = np.split(embedding, self._count)
        return np.concatenate([self._runner.restore(part, dtype) for part in parts], axis=1)

    def _split(self, images: PixelArray) -> list[PixelArray]:
        return np.split(images, self._count, axis=1)


def _windows(height: int, width: int, multiple: int) -> list[tuple[slice, slice]]:
    """Up to nine windows, spread evenly; the whole of a small picture."""

    def spans(length: int) -> list[slice]:
        size = min(WINDOW_SIDE, length)
        count = min(3, length // size)
        starts = [(length - size) * (2 * i + 1) // (2 * count) for i in range(count)]
        return [slice(s // multiple * multiple, s // multiple * multiple + size) for s in starts]

    return [(y, x) for y in spans(height) for x in spans(width)]


def _open_share_ratio(images: PixelArray, wanted: PixelArray, passes: _WindowedPasses) -> float:
    """Share of the whole pictures outside of the static region, relative to that of the windows.

    Static regions have no errors, and windows may hold more or less of them than the whole.
    """

    def open_share(pictures: PixelArray) -> float:
        scale = passes.scale
        shape = pictures.shape[1] // scale, pictures.shape[2] // scale
        region: StaticRegion | None = find_static_region(
            pictures, (*shape, passes.config.embedding_channels)
        )
        return 1 - float(region.cells.mean()) if region else 1.0

    of_windows = open_share(wanted)
    return open_share(images) / of_windows if of_windows else 1.0


def _png_size(embedding: Pixels) -> int:
    file = io.BytesIO()
    Image.fromarray(embedding.squeeze()).save(file, "PNG")
    return len(file.getbuffer())


def _search_seconds(
    runner: Runner,
    images: PixelArray,
    window: tuple[slice, slice],
    search: Search,
    layer_bytes: int,
) -> float:
    """Time of the optimiser's steps for the whole pictures, from some steps on one window."""
    part = np.ascontiguousarray(images[:, *window])
    embedding = runner.embed(part)
    refine_tiles(runner, part, embedding, Search(1))  # the first call is slow
    began = time.perf_counter()
    timed = Search(_TIMED_STEPS, Target())
    refine_tiles(runner, part, embedding, timed, layer_bytes=layer_bytes)
    of_pixel = (time.perf_counter() - began) / (part.shape[1] * part.shape[2] * _TIMED_STEPS)
    tiles = runner.tiles(*images.shape[1:3], searching=True)
    computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in tiles)
    return float(of_pixel * computed * search.steps)
