"""What embedding will take and give, told from small windows of the pictures."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from iicnet_cli.container import Mark, write_mark
from iicnet_cli.enhancement import add, encoded, error, room
from iicnet_cli.inference.effort import Target
from iicnet_cli.inference.runner import Runner, plan_tiles
from iicnet_cli.network.pixels import Levels, Pixels

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


def forecast(
    runner: Runner, images: Levels, search_steps: int = 0, *, enhance: bool = True
) -> GroupForecast:
    """Embed and restore a few windows of the pictures, and draw the conclusion for the whole.

    Args:
        runner: the network.
        images: (K, H, W, C), padded to the network's multiple.
        search_steps: of :meth:`Runner.improve`; what it will gain is not told.
        enhance: with an enhancement layer.
    """
    height, width = images.shape[1:3]
    restore = runner.restore if images.dtype == np.uint8 else runner.restore_levels
    windows = _windows(height, width, runner.config.multiple)
    runner.restore(runner.embed(images[:, *windows[0]]))  # the first call sets up much
    parts = [np.ascontiguousarray(images[:, *window]) for window in windows]
    area = sum(part.shape[1] * part.shape[2] for part in parts)
    began = time.perf_counter()
    embeddings, rounded_down = map(list, zip(*map(runner.embed_and_rounding, parts), strict=True))
    # Together, as if they were one picture: a layer for each would be too small.
    wanted = np.concatenate(parts, axis=1)

    def restored_from(embeddings: Sequence[Pixels]) -> Levels:
        return np.concatenate([restore(embedding) for embedding in embeddings], axis=1)

    restored = restored_from(embeddings)
    base_error = error(wanted, restored)
    if enhance:
        together = np.concatenate(embeddings)
        layer = encoded(wanted, restored, room(together.size, base_error))
        mark = Mark(task=0, model=0, images=len(images), valid=1, enhancement=layer)
        marked = np.split(write_mark(together, mark, np.concatenate(rounded_down)), len(parts))
        layered = restored_from(marked)
        add(layer, layered)
        if error(wanted, layered) < base_error:
            embeddings, restored = marked, layered
    files = [io.BytesIO() for _ in embeddings]
    for embedding, file in zip(embeddings, files, strict=True):
        Image.fromarray(embedding.squeeze()).save(file, "PNG")
    seconds = time.perf_counter() - began
    size = sum(len(file.getbuffer()) for file in files)
    references = [runner.reference(part) for part in parts]
    embed_errors = [_error(a, b) for a, b in zip(embeddings, references, strict=True)]
    restored_errors = [_error(a, b) for a, b in zip(restored, wanted, strict=True)]
    tiles = plan_tiles(height, width, runner.config, runner.memory)
    computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in tiles)
    total = seconds / area * computed
    if search_steps:
        part = parts[0]
        runner.improve(part, embeddings[0], 1, Target())  # likewise
        began = time.perf_counter()
        runner.improve(part, embeddings[0], _TIMED_STEPS, Target())
        step = (time.perf_counter() - began) / (part.shape[1] * part.shape[2] * _TIMED_STEPS)
        searched = plan_tiles(height, width, runner.config, runner.search_memory)
        computed = sum(math.prod(s.stop - s.start for s in tile.compute) for tile in searched)
        total += step * computed * search_steps
    return GroupForecast(
        tiles=len(tiles),
        seconds=total,
        bytes=round(size / area * height * width),
        embed_psnr=_psnr(float(np.mean(embed_errors))),
        restored_psnr=float(np.mean([_psnr(error) for error in restored_errors])),
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
