"""An embedding that carries its own enhancement layer, rounded strip by strip.

The layer is to mend what rounding does, too; but its bits decide how the samples that carry them
are rounded. So the bits of a strip are those of the layer of strips that were rounded before it.
Only the last strip's layer is made from the exact values; its bits are the first strip's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.enhancement_layer import Plan, add, planned
from iicnet_cli.payload.mark import Mark
from iicnet_cli.payload.mark_pixels import constrain_samples, payload_capacity, write_mark
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels, from_fixed_point
from iicnet_cli.pictures.metrics import cap_psnr, mse, mse_to_psnr
from iicnet_cli.quantize.error_diffusion import RowQuantizer
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES
from iicnet_cli.quantize.viterbi import TrellisQuantizer, viterbi_quantize

GOOD = 1.0
"""Mean squared error, in levels, below which a base layer may be disturbed more than mended; as any
may by a layer in one strip."""
_DENSITIES = {1.6: 1, 2.2: 2, 64.0: 3, 512.0: 4, float("inf"): 6}
"""Where the base layer has a lower mean squared error: bits of the layer to a pixel of the PNG, at
most."""
_KEPT = 1.0
"""How much of the mean squared error of rounding is left in the restored pictures, beside what the
layer leaves: 0.6 to 3, by picture and network."""
_LEAST = 1e-3
"""Share of the samples that may carry bits, if there are none."""
_MOST = 8
"""Strips; more of them take more time and gain little."""
_BYTES, _ROWS = 4096, 48
"""Of a strip, at least, in the layer and in the embedding."""
_AT_ONCE = 256
"""Rows of the pictures that are compared, to save memory."""
_SPARE = 256
"""Bytes more than a strip's share of all: pixels that carry the mark's head shift the load."""

Restore = Callable[[Pixels, NDArray[np.int8] | None, slice], FixedPoint]
"""Of an embedding and, if it is to be restored from before its rounding, the remainder: some rows
of the pictures, in parts of a level."""


def enhanced(
    mark: Mark,
    wanted: PixelArray,
    unrounded: UnroundedEmbedding,
    feedback: NoiseShapingFilter | None,
    restore: Restore,
    shown_error: float,
    tick: Callable[[float], None] = lambda share: None,
    *,
    thorough: bool = False,
    bits: int | None = None,
    along: TrellisQuantizer = viterbi_quantize,
) -> tuple[Mark, Pixels]:
    """The embedding with its mark and, if that makes it better, its enhancement layer.

    Args:
        mark: without one.
        wanted: (K, H, W, C), the pictures as the network got them, before padding.
        unrounded: (H_e, W_e, C_e), the embedding, not yet marked.
        feedback: as of :func:`write_mark`.
        restore: what the network makes of such an embedding, within the range of ``wanted``.
        shown_error: mean squared error, in levels, of the embedding before it is rounded.
        tick: called after each strip with the share 0..1 that is done.
        thorough: as of :class:`Plan`.
        bits: of the layer, to a pixel, for which there is a code, whether they pay or not; by
            default as many as do.
        along: as ``quantizer`` of :class:`RowQuantizer`.

    Returns:
        The mark that it carries, and the embedding.
    """
    restore = _with_common(restore, mark)
    embedding = unrounded.pixels
    base = restore(embedding, unrounded.residual, slice(0, wanted.shape[1]))
    base_error = _error(wanted, base)
    sure = bits is not None
    bits, plan = _planned(wanted, base, base_error, mark, embedding, shown_error, bits)
    if plan is None:
        return mark, write_mark(unrounded, mark, feedback)
    plain = None
    if not sure and (len(plan.sizes) == 1 or base_error < GOOD * _open(mark)):
        plain = mark, write_mark(unrounded, mark, feedback)
    area = mark.static_region
    kept = None if area is None else area.mask(*embedding.shape[:2])
    areas = _areas(plan, embedding.shape, kept)
    first = _first(plan.sizes, [area.samples for area in areas])
    plan = replace(plan, first=first, thorough=thorough)
    told = base[:, plan.rows(plan.first)].copy()
    del base
    rounding = RowQuantizer(unrounded, feedback, kept, along)
    room = room_for(embedding, mark, bits)
    marked = replace(mark, code=PayloadCode.trellis(bits))
    layered = _laid(plan, areas, marked, room, told, rounding, restore, tick)
    if plain is None:
        return layered

    def worth(mark: Mark, marked: Pixels) -> float:
        # The reference is not known here; what rounding does has nothing to do with it.
        shown = shown_error + unrounded.mse(marked)
        errors = shown, restored_error(mark, marked, wanted, restore)
        return sum(cap_psnr(mse_to_psnr(error)) for error in errors)

    return layered if worth(*layered) > worth(*plain) else plain


def room_for(embedding: Pixels, mark: Mark, bits: int) -> int:
    """Bytes for a layer of so many bits to a pixel."""
    code = PayloadCode.trellis(bits)
    capacity = payload_capacity(embedding.shape, mark.static_region_bytes, code=code)
    return capacity - len(mark.motion)


def _open(mark: Mark) -> float:
    """Share of the samples that may carry bits, where the errors are that these can mend."""
    area = mark.static_region
    return 1.0 if area is None else max(1 - float(area.cells.mean()), _LEAST)


def _planned(
    wanted: PixelArray,
    base: FixedPoint,
    base_error: float,
    mark: Mark,
    embedding: Pixels,
    shown_error: float,
    bits: int | None,
) -> tuple[int, Plan | None]:
    """Bits to a pixel, those asked for or as many as pay, and what to do with them.

    Each bit enlarges the layer, and makes the rounding coarser, by which embedding and restored
    pictures lose. So from the usual number on one bit less is taken for as long as the sum of both
    PSNRs seems to gain by that.
    """
    open_share = _open(mark)

    def plan_of(bits: int) -> Plan | None:
        room = room_for(embedding, mark, bits)
        count = max(1, min(_MOST, room // _BYTES, len(embedding) // _ROWS))
        return planned(wanted, base, room, count)

    def worth(bits: int, plan: Plan | None) -> float:
        if plan is None:
            return -math.inf
        noise = TRELLIS_CODES[bits].expected_mse(embedding.shape[2]) * open_share
        left = base_error - plan.gained + _KEPT * noise
        return mse_to_psnr(shown_error + noise) + mse_to_psnr(left)

    if bits is not None:
        return bits, plan_of(bits)
    bits = next(n for below, n in _DENSITIES.items() if base_error / open_share < below)
    plan = plan_of(bits)
    while plan is not None and bits > 1:
        fewer = plan_of(bits - 1)
        if worth(bits - 1, fewer) <= worth(bits, plan):
            break
        bits, plan = bits - 1, fewer
    return bits, plan


def restored_error(mark: Mark, marked: Pixels, wanted: PixelArray, restore: Restore) -> float:
    """Mean squared error of what a marked embedding restores, with all that the mark carries."""
    restored = restore(marked, None, slice(0, wanted.shape[1]))
    complete(mark, marked, restored)
    return _error(wanted, restored)


def complete(mark: Mark, marked: Pixels, restored: FixedPoint) -> None:
    """Give restored pictures what an embedding carries for them, but their motion, in place.

    Args:
        mark: of the embedding.
        marked: (H_e, W_e, C_e), the embedding.
        restored: (K, H, W, C), what the network restores from it, in parts of a level.
    """
    if mark.enhancement:
        add(mark.enhancement, restored)
    area = mark.static_region
    if area is not None:
        area.copy_into(restored, marked, scale=FRACTION)


def _with_common(restore: Restore, mark: Mark) -> Restore:
    """The same, but for the common area."""
    area = mark.static_region
    if area is None:
        return restore

    def with_common(
        embedding: Pixels, remainder: NDArray[np.int8] | None, rows: slice
    ) -> FixedPoint:
        restored = restore(embedding, remainder, rows)
        area.copy_into(restored, embedding, rows.start, scale=FRACTION)
        return restored

    return with_common


def _error(wanted: PixelArray, restored: FixedPoint) -> float:
    height = len(wanted[0])
    total = 0.0
    for top in range(0, height, _AT_ONCE):
        some = wanted[:, top : top + _AT_ONCE]
        levels = from_fixed_point(restored[:, top : top + _AT_ONCE], some.dtype)
        total += mse(some, levels) * some.shape[1]
    return total / height


@dataclass(frozen=True)
class _Area:
    """Of the embedding, what a strip of the pictures lies in: rows, and how many samples carry."""

    rows: slice
    samples: int


def _areas(plan: Plan, shape: tuple[int, ...], kept: NDArray[np.bool_] | None) -> list[_Area]:
    """The area of each strip; outside of what is kept samples can carry."""
    height, (high, wide, channels) = plan.wanted.shape[1], shape
    scale = -(-height // high)
    areas = []
    for strip in range(len(plan.sizes)):
        rows = plan.rows(strip)
        stop = high if rows.stop == height else rows.stop // scale
        inside = slice(rows.start // scale, stop)
        pixels = (stop - inside.start) * wide
        if kept is not None:
            pixels -= np.count_nonzero(kept[inside])
        areas.append(_Area(inside, pixels * channels))
    return areas


def _first(sizes: list[int], samples: list[int]) -> int:
    """The strip whose layer is made from the exact values.

    If the strips after it are rounded in this order, each is to find as many bytes of the layer as
    it can carry; so those that need many come first.

    Args:
        sizes: bytes of each strip in the layer.
        samples: in each strip, that can carry.
    """
    needed = np.array(sizes, float)
    room = np.array(samples) / sum(samples) * needed.sum()

    def least_left(first: int) -> float:
        made, filled = np.roll(needed, -first), np.roll(room, -first - 1)
        return float(min(np.cumsum(made) - np.cumsum(filled)))

    return max(range(len(sizes)), key=least_left)


def _laid(
    plan: Plan,
    areas: list[_Area],
    mark: Mark,
    room: int,
    restored: FixedPoint,
    rounding: RowQuantizer,
    restore: Restore,
    tick: Callable[[float], None],
) -> tuple[Mark, Pixels]:
    """What :func:`enhanced` gives with a layer of so many bytes as there is room.

    Of the plan's first strip it needs what is restored from the exact values.
    """
    shape = rounding.pixels.shape
    row = shape[1] * shape[2]
    remainder = rounding.unrounded.residual.copy()  # 0 of what is rounded
    order = plan.order[1:] + plan.order[:1]
    mark = replace(mark, enhancement=bytes(room), first_sample=areas[order[0]].rows.start * row)
    load = len(mark.to_bytes())
    samples = accumulate(areas[i].samples for i in order)
    of_all = sum(area.samples for area in areas)
    layer = plan.head
    unmade = sum(plan.sizes)
    for told, strip in zip(plan.order, order, strict=True):
        left = room - len(layer)
        # What the next strip is to carry has to be there before it is rounded.
        needed = load * next(samples) // of_all + _SPARE - len(mark.motion) - len(layer)
        least = min(needed, left)
        share = left * plan.sizes[told] // unmade
        unmade -= plan.sizes[told]
        layer += plan.coded(told, restored, max(share, least), least)
        mark = replace(mark, enhancement=layer.ljust(room, b"\0"))
        rows = areas[strip].rows
        some = slice(rows.start * row, rows.stop * row)
        rounding.quantize(rows, constrain_samples(shape, mark, some))
        remainder[rows] = 0
        tick(1 - left / room)
        if strip != order[-1]:
            restored = restore(rounding.pixels, remainder, plan.rows(strip))
    tick(1)
    return mark, rounding.pixels
