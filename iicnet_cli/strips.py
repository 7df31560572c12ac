"""An embedding that carries its own enhancement layer, rounded strip by strip.

The layer is to mend what rounding does, too; but its bits decide how the samples that carry them
are rounded. So the bits of a strip are those of the layer of strips that were rounded before it.
Only the last strip's layer is made from the exact values; its bits are the first strip's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.container import Mark, carried, mark_room, write_mark
from iicnet_cli.enhancement import Plan, add, planned
from iicnet_cli.levels import FineLevels, Levels, Pixels, whole
from iicnet_cli.metrics import mse
from iicnet_cli.rounding import Feedback, Rounding

GOOD = 1.0
"""Mean squared error, in levels, below which a base layer may be disturbed more than mended; as any
may by a layer in one strip."""
_DENSITIES = {0.3: (8, 1), 0.6: (4, 1), 2.0: (2, 1), 128.0: (1, 1), float("inf"): (1, 2)}
"""Where the base layer has a lower mean squared error: of how many samples of the PNG one carries
bits of the layer, and how many."""
_MOST = 8
"""Strips; more of them take more time and gain little."""
_BYTES, _ROWS = 4096, 48
"""Of a strip, at least, in the layer and in the embedding."""
_AT_ONCE = 256
"""Rows of the pictures that are compared, to save memory."""
_SPARE = 64
"""Bytes more than a strip's share of all: samples that carry the mark's head shift the load."""

Restore = Callable[[Pixels, NDArray[np.int8] | None, slice], FineLevels]
"""Of an embedding and, if it is to be restored from before its rounding, the remainder: some rows
of the pictures, in parts of a level."""


def enhanced(
    mark: Mark,
    wanted: Levels,
    embedding: Pixels,
    remainder: NDArray[np.int8],
    feedback: Feedback | None,
    restore: Restore,
    to_a_bit: int = 1,
    tick: Callable[[float], None] = lambda share: None,
    *,
    thorough: bool = False,
) -> tuple[Mark, Pixels]:
    """The embedding with its mark and, if that makes it better, its enhancement layer.

    Args:
        mark: without one.
        wanted: (K, H, W, C), the pictures as the network got them, before padding.
        embedding: (H_e, W_e, C_e), not yet marked.
        remainder: as of :func:`write_mark`.
        feedback: likewise.
        restore: what the network makes of such an embedding, within the range of ``wanted``.
        to_a_bit: samples of the embedding to each bit, at least.
        tick: called after each strip with the share 0..1 that is done.
        thorough: as of :class:`Plan`.

    Returns:
        The mark that it carries, and the embedding.
    """
    base = restore(embedding, remainder, slice(0, wanted.shape[1]))
    base_error = _error(wanted, base)
    apart, depth = next(d for below, d in _DENSITIES.items() if base_error < below)
    if to_a_bit > 1:
        apart, depth = max(apart, to_a_bit), 1
    room = mark_room(embedding.size, apart, depth) - len(mark.motion)
    count = max(1, min(_MOST, room // _BYTES, len(embedding) // _ROWS))
    plan = planned(wanted, base, room, count)
    plain = None
    if plan is None or count == 1 or base_error < GOOD:
        plain = mark, write_mark(embedding, mark, remainder, feedback)
    if plan is None:
        assert plain is not None
        return plain
    plan = replace(plan, first=_first(plan), thorough=thorough)
    told = base[:, plan.rows(plan.first)].copy()
    del base
    rounding = Rounding(embedding, remainder, feedback)
    layered = _laid(plan, replace(mark, depth=depth), room, told, rounding, restore, tick)
    if plain is not None:
        errors = [restored_error(*each, wanted, restore) for each in (plain, layered)]
        return layered if errors[1] < errors[0] else plain
    return layered


def restored_error(mark: Mark, marked: Pixels, wanted: Levels, restore: Restore) -> float:
    """Mean squared error of what a marked embedding restores, its layer added; see above."""
    restored = restore(marked, None, slice(0, wanted.shape[1]))
    if mark.enhancement:
        add(mark.enhancement, restored)
    return _error(wanted, restored)


def _error(wanted: Levels, restored: FineLevels) -> float:
    height = len(wanted[0])
    total = 0.0
    for top in range(0, height, _AT_ONCE):
        some = wanted[:, top : top + _AT_ONCE]
        levels = whole(restored[:, top : top + _AT_ONCE], some.dtype)
        total += mse(some, levels) * some.shape[1]
    return total / height


def _first(plan: Plan) -> int:
    """The strip whose layer is made from the exact values.

    If the strips after it are rounded in this order, each is to find as many bytes of the layer as
    it can carry; so those that need many come first.
    """
    height, sizes = plan.wanted.shape[1], np.array(plan.sizes, float)
    rows = [plan.rows(i) for i in range(len(sizes))]
    room = np.array([r.stop - r.start for r in rows]) / height * sizes.sum()

    def least_left(first: int) -> float:
        made, filled = np.roll(sizes, -first), np.roll(room, -first - 1)
        return float(min(np.cumsum(made) - np.cumsum(filled)))

    return max(range(len(sizes)), key=least_left)


def _laid(
    plan: Plan,
    mark: Mark,
    room: int,
    restored: FineLevels,
    rounding: Rounding,
    restore: Restore,
    tick: Callable[[float], None],
) -> tuple[Mark, Pixels]:
    """What :func:`enhanced` gives with a layer of so many bytes as there is room.

    Of the plan's first strip it needs what is restored from the exact values.
    """
    height, size = plan.wanted.shape[1], rounding.levels.size
    rows_of_all = len(rounding.levels)
    scale = -(-height // rows_of_all)
    row = size // rows_of_all

    def area(strip: int) -> slice:
        rows = plan.rows(strip)
        stop = rows_of_all if rows.stop == height else rows.stop // scale
        return slice(rows.start // scale, stop)

    remainder = rounding.remainder.copy()  # 0 of what is rounded
    order = plan.order[1:] + plan.order[:1]
    mark = replace(mark, enhancement=bytes(room), first=area(order[0]).start * row)
    load = len(mark.to_bytes())
    samples = accumulate((area(i).stop - area(i).start) * row for i in order)
    layer = plan.head
    unmade = sum(plan.sizes)
    for told, strip in zip(plan.order, order, strict=True):
        left = room - len(layer)
        # What the next strip is to carry has to be there before it is rounded.
        needed = load * next(samples) // size + _SPARE - len(mark.motion) - len(layer)
        least = min(needed, left)
        share = left * plan.sizes[told] // unmade
        unmade -= plan.sizes[told]
        layer += plan.coded(told, restored, max(share, least), least)
        mark = replace(mark, enhancement=layer.ljust(room, b"\0"))
        rows = area(strip)
        some = slice(rows.start * row, rows.stop * row)
        rounding.rows(rows, *carried(size, mark, some))
        remainder[rows] = 0
        tick(1 - left / room)
        if strip != order[-1]:
            restored = restore(rounding.levels, remainder, plan.rows(strip))
    tick(1)
    return mark, rounding.levels
