"""Motion compensation: what another frame shows already is taken out of each frame.

The other view of a stereo pair counts as a frame, and its disparity as motion.

A network finds in one picture what it has seen in another a few pixels away, and no farther. So a
frame h goes into it as h - P + r: P predicts the frame from the reference r, warped along a coarse
field of vectors that the PNG carries beside the picture. Where a vector is right the result is r
itself, and nothing has to be hidden. Far frames show more and more that the reference does not, but
that their neighbours do: there P comes from the neighbour on the side of the reference, warped as
well, or is the mean of both. After restoring, h = x - r + P, frame after frame away from r, with
frames as they came back; that undoes it whatever P is. This is a lifting step, as in video coding
by wavelets along the motion (Secker and Taubman, 2001).

Vectors are found by phase correlation of the whole pictures (``shifts``), then by Lucas and
Kanade's method (1981) from coarse to fine; then each is compared with its neighbours' and with some
beside itself, by what the warped picture leaves and by the bits that the vector takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.motion.field import HALVES, MAX_VECTOR, STEPS, MotionField
from iicnet_cli.motion.phase_correlation import SMALLEST_SIDE, WORTH, phase_correlate
from iicnet_cli.pictures.arrays import PixelArray, Pixels

_FINE = 300
"""Lines of the plane on which motion is looked for at last, at most."""
_SPACING = 16
"""Pixels between two vectors, up to twice ``_FINE`` lines; larger pictures have as many vectors."""
_SPACING_OF_PAIRS = 8
"""The same, where only one picture needs vectors: there are few enough of them."""
_FEWER = 1.5
"""How many times as far apart they are where they would be dear."""
_DEAR = 100
"""Samples of a picture to a byte of the motion, at least; else vectors are dear."""
_COARSE = 48
"""Lines of the plane on which it is looked for first, less."""
_ITERATIONS = 5
"""On each plane."""
_WINDOW = 7
_SMOOTHING = 3
"""Sides of the squares over which gradients and vectors are averaged, on a halved plane."""
_REGULARISATION = 4.0
"""In levels squared: keeps vectors of flat areas from growing."""
_TRIED = (2.0, 1.0, 0.5)
"""Pixels of the finest plane beside each vector at which others are tried, one after the other."""
_PRICE = 1.0
"""Squared levels, in the mean of a cell and those around it, that are worth a bit of a vector."""
_DEARER = 75.0
"""Squared levels that must be saved for a whole share: a neighbour comes back with errors."""
_STRIP = 256
"""Rows that are warped at a time."""


def neighbours(frames: int) -> list[int]:
    """Of K frames, the reference first and the others in time: where each one's neighbour is.

    The neighbour is the next frame on the side of the reference, which stood in the middle; it may
    be the reference itself.

    Args:
        frames: K.

    Returns:
        K - 1 places, 0 to K - 1: of the neighbours of all but the reference.
    """
    middle = frames // 2
    return [k + 1 if k < middle else k - 1 if k > middle + 1 else 0 for k in range(1, frames)]


def estimate_motion(images: Pixels) -> MotionField | None:
    """The motion of each picture but the first, beside the first and beside its neighbour.

    Args:
        images: (K, H, W, C), uint8, see :func:`neighbours`.

    Returns:
        Vectors of 0 into a picture that, warped, does not come 15 % nearer than it is unmoved;
        ``None`` where nothing moves, as in pictures below ``SMALLEST_SIDE``.
    """
    height, width = images.shape[1:3]
    if len(images) < 2 or min(height, width) < SMALLEST_SIDE:
        return None
    level = fine_level(height, width)
    planes = [halved_grey(image[None], level) for image in images]

    searches = []
    pairs = zip(neighbours(len(images)), phase_correlate(images), strict=True)
    for k, (near, shift) in enumerate(pairs, 1):
        sources, starts = [planes[0]], [shift]
        if near:
            sources.append(planes[near])
            starts += phase_correlate(images[[near, k]])
        searches.append((planes[k], torch.cat(sources), torch.tensor(starts).float(), [near > 0]))

    def with_cells(apart: float) -> MotionField:
        cells = cells_of(len(images), height, width, level, apart)
        # One after the other: together they would not be faster, and take more memory.
        found = [estimate(*search, cells, level) for search in searches]
        return MotionField(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    motion = with_cells(1)
    if _DEAR * len(motion.to_bytes()) > images[0].size:
        motion = with_cells(_FEWER)
    return motion if motion.vectors.any() or motion.shares.any() else None


def subtract_prediction(images: Pixels, motion: MotionField | None) -> PixelArray:
    """(K, H, W, C), each picture but the first without what others show of it.

    Returns:
        int16, -255 to 510, the first as it was; ``images`` themselves without a motion.
    """
    if motion is None:
        return images
    shown = (
        predict_frame(images[0], images[near], vectors, shares)
        for near, vectors, shares in zip(
            neighbours(len(images)), motion.vectors, motion.shares, strict=True
        )
    )
    return predict_step(images, shown)


def predict_step(images: Pixels, shown: Iterable[Pixels]) -> NDArray[np.int16]:
    """(K, H, W, C), each picture but the first minus what is shown of it, plus the first.

    Args:
        images: uint8.
        shown: K - 1 pictures (H, W, C) uint8: of each of the others, what is predicted.
    """
    out = images.astype(np.int16)
    for frame, picture in zip(out[1:], shown, strict=True):
        frame -= picture
        frame += images[0]
    return out


def add_prediction(levels: PixelArray, motion: MotionField | None) -> Pixels:
    """The inverse of :func:`subtract_prediction`, as far as the first picture is right: uint8."""
    first = levels[0].clip(0, 255).astype(np.uint8)
    out = np.empty(levels.shape, np.uint8)
    out[0] = first
    if motion is None:
        out[1:] = levels[1:].clip(0, 255)
        return out
    near = neighbours(len(levels))
    # From the reference, which stood in the middle, outwards: a neighbour comes before its frame.
    for k in sorted(range(1, len(levels)), key=lambda k: abs(k - len(levels) // 2 - 0.5)):
        shown = predict_frame(first, out[near[k - 1]], motion.vectors[k - 1], motion.shares[k - 1])
        out[k] = (levels[k] - first + shown).clip(0, 255)
    return out


def predict_frame(
    reference: Pixels, neighbour: Pixels, vectors: NDArray[np.int16], shares: NDArray[np.uint8]
) -> Pixels:
    """What reference and neighbour show of a frame, (H, W, C) uint8.

    Args:
        reference: (H, W, C).
        neighbour: likewise.
        vectors: (2, rows, columns, 2), see :class:`MotionField`.
        shares: (rows, columns), likewise.
    """
    picture = warp(reference, vectors[0])
    if not shares.any():
        return picture
    other = warp(neighbour, vectors[1])
    height, width = picture.shape[:2]
    out = np.empty_like(picture)
    field = torch.from_numpy(shares.astype(np.float32) / HALVES)[None, None]
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        share = _interpolated(field, rows, height, width)[0].movedim(0, 2)
        first, second = (torch.from_numpy(x[rows]).float() for x in (picture, other))
        out[rows] = torch.lerp(first, second, share).round().numpy()
    return out


def fine_level(height: int, width: int) -> int:
    """How often pictures of this size are halved where their motion is looked for at last."""
    return max(0, math.ceil(math.log2(min(height, width) / _FINE)))


def cells_of(images: int, height: int, width: int, level: int, apart: float = 1) -> tuple[int, int]:
    """Rows and columns of vectors for so many pictures of this size, or parts of larger ones.

    Those of whole pictures may be ``apart`` times as far from each other as usual.
    """
    spacing = (_SPACING_OF_PAIRS if images == 2 else _SPACING) * 2 ** max(0, level - 1) * apart
    return max(1, round(height / spacing)), max(1, round(width / spacing))


@torch.inference_mode()
def estimate(
    frames: Tensor,
    sources: Tensor,
    starts: Tensor,
    far: Sequence[bool],
    cells: tuple[int, int],
    level: int,
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Vectors and shares by which frames are predicted best.

    Args:
        frames: (B, 1, H, W), 0..255, halved ``level`` times.
        sources: (B + F, 1, H, W), likewise: the reference for each frame, then the neighbours of
            the F far ones.
        starts: (B + F, 2): where to look in them first, in pixels of the pictures.
        far: which of the frames have a neighbour that is not the reference.
        cells: rows and columns.
        level: see :func:`fine_level`.

    Returns:
        As in :class:`MotionField`, for B frames: vectors and shares.
    """
    count = len(frames)
    chosen = torch.tensor(far)
    both = torch.cat((frames, frames[chosen]))
    fields = _vectors(sources, both, starts / 2**level, cells, level)
    vectors = np.zeros((count, 2, *cells, 2), np.int16)
    shares = np.zeros((count, *cells), np.uint8)
    whole = (fields * (STEPS * 2**level)).round().movedim(1, 3).numpy()
    vectors[:, 0], vectors[far, 1] = whole[:count], whole[count:]
    left = _left(sources, both, fields)
    first, second = left[:count][chosen], left[count:]
    costs = [_cost(torch.lerp(first, second, i / HALVES), cells) for i in range(HALVES + 1)]
    prices = torch.arange(HALVES + 1)[:, None, None] * (_DEARER / HALVES)
    shares[far] = (torch.cat(costs, dim=1) + prices).argmin(1).numpy()
    _forget(vectors[:, 0], shares < HALVES)
    _forget(vectors[:, 1], shares > 0)
    return vectors, shares


def _forget(vectors: NDArray[np.int16], used: NDArray[np.bool_]) -> None:
    """Make vectors (B, rows, columns, 2) that nothing is interpolated from cheap to keep."""
    rows, columns = used.shape[1:]
    around = np.pad(used, ((0, 0), (1, 1), (1, 1)))
    near = np.any(
        [around[:, y : y + rows, x : x + columns] for y in range(3) for x in range(3)], axis=0
    )
    # Each like the last one before it in its row that is needed.
    last = np.maximum.accumulate(np.where(near, np.arange(columns), -1), axis=2)
    kept = np.take_along_axis(vectors, last.clip(0)[..., None], axis=2)
    vectors[:] = np.where(last[..., None] < 0, 0, kept)


def _vectors(
    source: Tensor, frames: Tensor, start: Tensor, cells: tuple[int, int], level: int
) -> Tensor:
    """(B, 2, rows, columns) in pixels of the planes; 0 where the source comes not 15 % nearer."""
    flow = _lucas_kanade(source, frames, start)
    found = F.adaptive_avg_pool2d(flow, cells)

    def cost(vectors: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(_left(source, frames, vectors).abs(), cells)

    still = torch.zeros_like(found)
    unmoved = least = cost(still)
    best = still
    for vectors in (start[:, :, None, None].expand_as(found), found):
        costs = cost(vectors)
        best = torch.where(costs < least, vectors, best)
        least = torch.minimum(costs, least)
    best = _refined(source, frames, best, STEPS * 2**level)
    # Chosen each for itself, they are judged together: their neighbours bend them.
    worth = cost(best).mean((1, 2, 3)) < WORTH * unmoved.mean((1, 2, 3))
    kept = worth & ((best * 2**level).abs().amax((1, 2, 3)) < MAX_VECTOR)
    return torch.where(kept[:, None, None, None], best, 0)


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


def _refined(reference: Tensor, frames: Tensor, vectors: Tensor, steps: int) -> Tensor:
    """(B, 2, rows, columns), each vector replaced where another one is worth it.

    One in four at a time, so that no two neighbours change together: a vector bends the field up to
    its neighbours, and is judged there.

    Args:
        reference: as of :func:`_left`.
        frames: likewise.
        vectors: in pixels of the planes.
        steps: to such a pixel, in which vectors are kept.
    """
    grid = (vectors.shape[2], vectors.shape[3])

    def kept(field: Tensor) -> Tensor:
        return (steps * field).round() / steps

    def cost(field: Tensor) -> Tensor:
        return _cost(_left(reference, frames, field), grid) + _PRICE * _bits(steps * field)

    vectors = kept(vectors)
    for beside in _TRIED:
        tried: list[Callable[[Tensor], Tensor]] = [lambda field: kept(_mean(field, window=3))]
        for side in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            offset = beside * vectors.new_tensor(side)[:, None, None]
            neighbour = partial(torch.roll, shifts=side, dims=(2, 3))
            tried += [neighbour, partial(torch.add, offset)]
            if side[1]:
                # In one component only.
                tried += [partial(_with, neighbour, axis) for axis in (0, 1)]
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            turn = torch.zeros(grid, dtype=torch.bool)
            turn[y::2, x::2] = True
            least = cost(vectors)
            for other in tried:
                candidates = torch.where(turn, other(vectors), vectors)
                found = cost(candidates)
                better = turn & (found < least)
                vectors = torch.where(better, candidates, vectors)
                least = torch.where(better, found, least)
    return vectors


def _with(other: Callable[[Tensor], Tensor], axis: int, vectors: Tensor) -> Tensor:
    """Vectors (B, 2, rows, columns) with one component of others."""
    mixed = vectors.clone()
    mixed[:, axis] = other(vectors)[:, axis]
    return mixed


def _bits(vectors: Tensor) -> Tensor:
    """(B, 1, rows, columns): what each vector takes, about, and makes the one to its right take.

    Args:
        vectors: (B, 2, rows, columns), whole steps, kept as differences from the left neighbour.
    """
    differences = torch.diff(vectors, dim=3, prepend=torch.zeros_like(vectors[..., :1]))
    bits = (1 + differences.abs()).log2().mul(2).sum(1, keepdim=True)
    return bits + F.pad(bits[..., 1:], (0, 1))


def _cost(errors: Tensor, cells: tuple[int, int]) -> Tensor:
    """(B, 1, rows, columns): the mean squared error of each cell and those around it."""
    return _mean(F.adaptive_avg_pool2d(errors.square(), cells), 3)


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
    # As grid_sample wants it: columns first, from -1 to 1 from border to border.
    where = flow.new_empty(batch, height, width, 2)
    for axis, length in ((0, height), (1, width)):
        centres = (2 * torch.arange(length, dtype=flow.dtype) + 1) / length - 1
        own = centres[:, None] if axis == 0 else centres
        torch.add(own, flow[:, axis], alpha=2 / length, out=where[..., 1 - axis])
    return _sample(planes.expand(batch, -1, -1, -1), where)


def _at(planes: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(B, C, H, W) at (B, h, w) rows and columns, in pixels from the centre of the first."""
    height, width = planes.shape[-2:]
    return _sample(planes, torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1))


def _sample(planes: Tensor, where: Tensor) -> Tensor:
    sampled: Tensor = F.grid_sample(planes, where, "bilinear", "border", align_corners=False)
    return sampled


@torch.inference_mode()
def warp(reference: Pixels, vectors: NDArray[np.int16]) -> Pixels:
    """(H, W, C) uint8 along (rows, columns, 2) vectors, in halves of a pixel."""
    if not vectors.any():
        return reference
    height, width = reference.shape[:2]
    out = np.empty_like(reference)
    field = torch.from_numpy(vectors.astype(np.float32) / STEPS).movedim(2, 0)[None]
    x = torch.arange(width).float()
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        flow = _interpolated(field, rows, height, width)
        y = torch.arange(rows.start, rows.stop).float()[:, None]
        wanted_y, wanted_x = y + flow[:, 0], x + flow[:, 1]
        first = max(0, math.floor(wanted_y.min().item()))
        last = min(height, math.floor(wanted_y.max().item()) + 2)
        first, last = min(first, height - 1), max(last, 1)
        part = torch.from_numpy(reference[first:last].astype(np.float32)).movedim(2, 0)[None]
        strip = _at(part, wanted_y - first, wanted_x)
        out[rows] = strip[0].round().movedim(0, 2).numpy()
    return out


def _interpolated(field: Tensor, rows: slice, height: int, width: int) -> Tensor:
    """(1, C, rows, columns), between the centres of its cells: (1, C, h, W) of some rows."""
    y = torch.arange(rows.start, rows.stop).float()[:, None]
    x = torch.arange(width).float()
    at_y = ((y + 0.5) * field.shape[2] / height - 0.5).expand(1, -1, width)
    at_x = ((x + 0.5) * field.shape[3] / width - 0.5).expand(1, len(y), -1)
    return _at(field, at_y, at_x)


def halved_grey(images: Pixels, times: int) -> Tensor:
    """(B, 1, H, W) 0..255 of (B, H, W, C) uint8: the mean of the channels, halved so often."""
    return _halved(torch.from_numpy(images.mean(axis=3, dtype=np.float32))[:, None], times)
