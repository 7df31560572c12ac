"""What embedding will take and give, told from small windows of the pictures."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from iicnet_cli.inference.effort import Target
from iicnet_cli.inference.runner import Runner, plan_tiles
from iicnet_cli.network.pixels import Levels

WINDOW = 128
"""Side of a window, in pixels of the pictures."""
_TIMED_STEPS = 10


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


def forecast(runner: Runner, images: Levels, search_steps: int = 0) -> GroupForecast:
    """Embed and restore a few windows of the pictures, and draw the conclusion for the whole.

    Args:
        runner: the network.
        images: (K, H, W, C), padded to the network's multiple.
        search_steps: of :meth:`Runner.improve`; what it will gain is not told.
    """
    height, width = images.shape[1:3]
    restore = runner.restore if images.dtype == np.uint8 else runner.restore_levels
    windows = _windows(height, width, runner.config.multiple)
    runner.restore(runner.embed(images[:, *windows[0]]))  # the first call sets up much
    embed_errors, restored_errors = [], []
    seconds = area = size = 0.0
    for window in windows:
        part = np.ascontiguousarray(images[:, *window])
        began = time.perf_counter()
        embedding = runner.embed(part)
        file = io.BytesIO()
        Image.fromarray(embedding.squeeze()).save(file, "PNG")
        restored = restore(embedding)
        seconds += time.perf_counter() - began
        area += part.shape[1] * part.shape[2]
        size += len(file.getbuffer())
        embed_errors.append(_error(embedding, runner.reference(part)))
        restored_errors.append([_error(a, b) for a, b in zip(restored, part, strict=True)])
    tiles = plan_tiles(height, width, runner.config, runner.memory)
    computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in tiles)
    total = seconds / area * computed
    if search_steps:
        runner.improve(part, embedding, 1, Target())  # likewise
        began = time.perf_counter()
        runner.improve(part, embedding, _TIMED_STEPS, Target())
        step = (time.perf_counter() - began) / (part.shape[1] * part.shape[2] * _TIMED_STEPS)
        searched = plan_tiles(height, width, runner.config, runner.search_memory)
        computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in searched)
        total += step * computed * search_steps
    return GroupForecast(
        tiles=len(tiles),
        seconds=total,
        bytes=round(size / area * height * width),
        embed_psnr=_psnr(float(np.mean(embed_errors))),
        restored_psnr=float(np.mean([_psnr(e) for e in np.mean(restored_errors, axis=0)])),
    )


def _windows(height: int, width: int, multiple: int) -> list[tuple[slice, slice]]:
    """Up to nine windows, spread evenly; the whole of a small picture."""

    def spans(length: int) -> list[slice]:
        size = min(WINDOW, length)
        count = min(3, length // size)
        starts = [(length - size) * (2 * i + 1) // (2 * count) for i in range(count)]
        return [slice(s // multiple * multiple, s // multiple * multiple + size) for s in starts]

    return [(y, x) for y in spans(height) for x in spans(width)]


def _error(a: Levels, b: Levels) -> float:
    return float(np.square(a.astype(np.float32) - b).mean())


def _psnr(error: float) -> float:
    return 10 * math.log10(255**2 / max(error, 1e-6))
