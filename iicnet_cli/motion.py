"""Motion compensation: what the reference shows already is taken out of the other frames.

A network finds in one picture what it has seen in another a few pixels away, and no farther. So a
frame h goes into it as h - W(r) + r: W warps the reference r along a coarse field of vectors that
the PNG carries beside the picture. Where a vector is right the result is r itself, and nothing has
to be hidden. After restoring, h = x - r + W(r), with r as it came back; that undoes it whatever the
field is. This is a lifting step, as in video coding by wavelets along the motion (Secker and
Taubman, 2001).

Vectors are found by phase correlation of the whole pictures (``alignment``), then by Lucas and
Kanade's method (1981) from coarse to fine; then each is compared with its neighbours' and with some
beside itself, by what the warped reference leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.alignment import SMALLEST_SIDE, WORTH, find_shifts
from iicnet_cli.container.motion import LONGEST, STEPS, Motion
from iicnet_cli.network.pixels import Levels, Pixels

SPACING = 16
"""Pixels between two vectors in pictures of up to ``_FINE`` lines; larger ones have as many."""

_FINE = 300
"""Lines of the plane on which motion is looked for at last, at most."""
_COARSE = 48
"""Lines of the plane on which it is looked for first, less."""
_ITERATIONS = 5
"""On each plane."""
_WINDOW = 7
_SMOOTHING = 3
"""Sides of the squares over which gradients and vectors are averaged, on a halved plane."""
_REGULARISATION = 4.0
"""In levels squared: keeps vectors of flat areas from growing."""
_TRIED = (2.0, 1.0)
"""Pixels of the finest plane beside each vector at which others are tried, one after the other."""
_BETTER = 0.995
"""Share of the squared error that another vector may leave, at most, to be taken."""
_STRIP = 256
"""Rows that are warped at a time."""


def find_motion(images: Pixels) -> Motion | None:
    """The motion of each picture but the first, beside the first.

    Args:
        images: (K, H, W, C), uint8.

    Returns:
        Vectors of 0 for a picture that does not come 15 % nearer to the warped reference than it
        is to the unmoved one; ``None`` where none does, as in pictures below ``SMALLEST_SIDE``.
    """
    height, width = images.shape[1:3]
    if len(images) < 2 or min(height, width) < SMALLEST_SIDE:
        return None
    start = torch.tensor(find_shifts(images) or [(0, 0)] * (len(images) - 1)).float()
    level = fine_level(height, width)
    reference = grey(images[:1])
    # One after the other: together they would not be faster, and take more memory.
    found = [
        estimate(reference, grey(image[None]), first[None], level)
        for image, first in zip(images[1:], start, strict=True)
    ]
    vectors = torch.cat(found)
    if not vectors.any():
        return None
    return Motion(vectors.movedim(1, 3).numpy().astype(np.int16))


def compensated(images: Pixels, motion: Motion | None) -> Levels:
    """(K, H, W, C), each picture but the first without what the warped reference shows of it.

    Returns:
        int16, -255 to 510, the first as it was; ``images`` themselves without a motion.
    """
    if motion is None:
        return images
    return exchanged(images, (warped(images[0], vectors) for vectors in motion.vectors))


def exchanged(images: Pixels, shown: Iterable[Pixels]) -> NDArray[np.int16]:
    """(K, H, W, C), each picture but the first minus what is shown of it, plus the first.

    Args:
        images: uint8.
        shown: K - 1 pictures (H, W, C) uint8: the first one, warped for each of the others.
    """
    out = images.astype(np.int16)
    for frame, picture in zip(out[1:], shown, strict=True):
        frame -= picture
        frame += images[0]
    return out


def uncompensated(levels: Levels, motion: Motion | None) -> Pixels:
    """The inverse of :func:`compensated`, as far as the first picture is right: uint8."""
    first = levels[0].clip(0, 255).astype(np.uint8)
    out = np.empty(levels.shape, np.uint8)
    out[0] = first
    for i, frame in enumerate(levels[1:]):
        if motion is not None:
            frame = frame - first + warped(first, motion.vectors[i])
        out[i + 1] = frame.clip(0, 255)
    return out


def fine_level(height: int, width: int) -> int:
    """How often pictures of this size are halved where their motion is looked for at last."""
    return max(0, math.ceil(math.log2(min(height, width) / _FINE)))


@torch.inference_mode()
def estimate(reference: Tensor, frames: Tensor, start: Tensor, level: int) -> Tensor:
    """Vectors along which the reference comes near to the frames.

    Args:
        reference: (B or 1, 1, H, W), 0..255.
        frames: (B, 1, H, W), likewise.
        start: (B, 2), pixels; where to look first.
        level: see :func:`fine_level`.

    Returns:
        (B, 2, rows, columns) in whole ``STEPS``; 0 for a frame that does not come 15 % nearer.
    """
    height, width = frames.shape[-2:]
    spacing = SPACING * 2 ** max(0, level - 1)
    grid = (max(1, round(height / spacing)), max(1, round(width / spacing)))
    reference, frames = (_halved(x, level) for x in (reference, frames))
    start = start / 2**level
    flow = _lucas_kanade(reference, frames, start)
    found = F.adaptive_avg_pool2d(flow, grid)

    def cost(vectors: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(_left(reference, frames, vectors).abs(), grid)

    still = torch.zeros_like(found)
    unmoved = least = cost(still)
    best = still
    for vectors in (start[:, :, None, None].expand_as(found), found):
        costs = cost(vectors)
        best = torch.where(costs < least, vectors, best)
        least = torch.minimum(costs, least)
    best = _refined(reference, frames, best)
    # Chosen each for itself, they are judged together: their neighbours bend them.
    worth = cost(best).mean((1, 2, 3)) < WORTH * unmoved.mean((1, 2, 3))
    pixels = best * 2**level
    kept = worth & (pixels.abs().amax((1, 2, 3)) < LONGEST)
    return torch.where(kept[:, None, None, None], (pixels * STEPS).round(), 0)


def _lucas_kanade(reference: Tensor, frames: Tensor, start: Tensor) -> Tensor:
    """(B, 2, H / 2, W / 2): displacements in pixels of the frames, on half their grid."""
    pyramid = [(reference, frames)]
    while min(pyramid[-1][1].shape[-2:]) >= _COARSE:
        reference, frames = (F.avg_pool2d(x, 2) for x in pyramid[-1])
        pyramid.append((reference, frames))
    flow: Tensor = (start / 2 ** len(pyramid))[:, :, None, None]
    for reference, frames in reversed(pyramid):
        height, width = frames.shape[-2:]
        flow = 2 * F.interpolate(flow, size=(height // 2, width // 2), mode="bilinear")
        for _ in range(_ITERATIONS):
            moved = _sampled(reference, F.interpolate(flow, size=(height, width), mode="bilinear"))
            dy, dx = torch.gradient(moved, dim=(2, 3))
            rest = frames - moved
            products = torch.cat((dy * dy, dx * dx, dy * dx, dy * rest, dx * rest), dim=1)
            means = _mean(F.avg_pool2d(products, 2), _WINDOW)
            yy, xx, yx, y, x = means.tensor_split(5, dim=1)
            yy, xx = yy + _REGULARISATION, xx + _REGULARISATION
            step = torch.cat((xx * y - yx * x, yy * x - yx * y), dim=1) / (yy * xx - yx * yx)
            flow = _mean(flow + step.clamp(-2, 2), _SMOOTHING)
    return flow


def _refined(reference: Tensor, frames: Tensor, vectors: Tensor) -> Tensor:
    """(B, 2, rows, columns), each vector replaced where another one leaves less around it.

    One in four at a time, so that no two neighbours change together: a vector bends the field up to
    its neighbours, and is judged there.
    """
    rows, columns = vectors.shape[-2:]
    grid = (rows, columns)

    def cost(field: Tensor) -> Tensor:
        errors = _left(reference, frames, field).square()
        return _mean(F.adaptive_avg_pool2d(errors, grid), 3)

    for beside in _TRIED:
        tried: list[Callable[[Tensor], Tensor]] = [partial(_mean, window=3)]
        for side in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            offset = beside * vectors.new_tensor(side)[:, None, None]
            tried.append(partial(torch.roll, shifts=side, dims=(2, 3)))
            tried.append(partial(torch.add, offset))
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            turn = torch.zeros(grid, dtype=torch.bool)
            turn[y::2, x::2] = True
            least = cost(vectors)
            for other in tried:
                candidates = torch.where(turn, other(vectors), vectors)
                found = cost(candidates)
                better = turn & (found < _BETTER * least)
                vectors = torch.where(better, candidates, vectors)
                least = torch.where(better, found, least)
    return vectors


def _left(reference: Tensor, frames: Tensor, vectors: Tensor) -> Tensor:
    """The frames minus the reference, warped along (B, 2, rows, columns)."""
    flow = F.interpolate(vectors, size=frames.shape[-2:], mode="bilinear")
    return frames - _sampled(reference, flow)


def _mean(planes: Tensor, window: int) -> Tensor:
    """Of a square window; what lies beyond the border does not count."""
    half = window // 2
    rows = F.avg_pool2d(planes, (window, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, window), 1, (0, half), count_include_pad=False)


def _halved(planes: Tensor, times: int) -> Tensor:
    for _ in range(times):
        planes = F.avg_pool2d(planes, 2)
    return planes


def _sampled(planes: Tensor, flow: Tensor) -> Tensor:
    """(B or 1, C, H, W) at each pixel plus (B, 2, H, W); beyond the border, the border."""
    batch, _, height, width = flow.shape
    y = torch.arange(height, dtype=flow.dtype)[:, None] + flow[:, 0]
    x = torch.arange(width, dtype=flow.dtype) + flow[:, 1]
    return _at(planes.expand(batch, -1, -1, -1), y, x)


def _at(planes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(B, C, H, W) at (B, h, w) rows and columns, in pixels from the centre of the first."""
    height, width = planes.shape[-2:]
    where = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    sampled: Tensor = F.grid_sample(planes, where, "bilinear", "border", align_corners=False)
    return sampled


@torch.inference_mode()
def warped(reference: Pixels, vectors: NDArray[np.int16]) -> Pixels:
    """(H, W, C) uint8 along (rows, columns, 2) vectors, in halves of a pixel."""
    if not vectors.any():
        return reference
    height, width = reference.shape[:2]
    rows, columns = vectors.shape[:2]
    out = np.empty_like(reference)
    field = torch.from_numpy(vectors.astype(np.float32) / STEPS).movedim(2, 0)[None]
    x = torch.arange(width).float()
    for top in range(0, height, _STRIP):
        y = torch.arange(top, min(top + _STRIP, height)).float()[:, None]
        at_y = ((y + 0.5) * rows / height - 0.5).expand(1, -1, width)
        at_x = ((x + 0.5) * columns / width - 0.5).expand(1, len(y), -1)
        flow = _at(field, at_y, at_x)
        wanted_y, wanted_x = y + flow[:, 0], x + flow[:, 1]
        first = max(0, math.floor(wanted_y.min().item()))
        last = min(height, math.floor(wanted_y.max().item()) + 2)
        first, last = min(first, height - 1), max(last, 1)
        part = torch.from_numpy(reference[first:last].astype(np.float32)).movedim(2, 0)[None]
        strip = _at(part, wanted_y - first, wanted_x)
        out[top : top + _STRIP] = strip[0].round().movedim(0, 2).numpy()
    return out


def grey(images: Pixels) -> Tensor:
    """(B, 1, H, W) 0..255 of (B, H, W, C) uint8: the mean of the channels."""
    return torch.from_numpy(images.mean(axis=3, dtype=np.float32))[:, None]
