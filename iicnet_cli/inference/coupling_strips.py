"""One subnet of a coupling block, strip by strip, compiled by Numba.

A strip is four rows of the picture. All layers work on strips in turn, each one strip behind the
layer before it, so what is between them stays in the cache: of each layer's output only three
strips are kept, of which the next layer needs six rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from iicnet_cli.inference.activations import gelu, scale_factor
from iicnet_cli.inference.vectors import Vector, memory_of, multiple, splat
from iicnet_cli.inference.winograd import (
    LANES,
    POSITIONS,
    TILE,
    TILES_AT_ONCE,
    Plane,
    aligned,
    interpolate,
    multiply_row,
    multiply_tiles,
)
from iicnet_cli.jit import compiled_fast

Values = NDArray[np.float32]

Convolution = tuple[Values, Values]
"""One 3x3 layer: kernel (36, inputs, outputs) and bias (outputs,)."""

GROUP = 8
"""The channels of u_t and of u_b are padded to a multiple of this."""

_KEPT_ROWS = 3 * TILE
"""Rows that are kept of a layer's output, those of three strips."""


def _emit_activate(typing, product, bias, raw, active, numbers, *, adds):  # type: ignore[no-untyped-def]
    """16 channels of a tile, added to ``raw`` if ``adds``: there, and through a GELU."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at, position, channel, to, to_active, row, pixel = cgutils.unpack_tuple(builder, args[4])  # type: ignore[no-untyped-call]
        start, added, sums, target = (
            memory_of(context, builder, signature, args, i, offset)
            for i, offset in enumerate((at, channel, to, to_active))
        )
        offset = added.load(LANES)
        for y, line in enumerate(interpolate(builder, start, position)):
            for x, value in enumerate(line):
                place = builder.add(multiple(builder, row, y), multiple(builder, pixel, x))
                value += offset
                if adds:
                    value += sums.load(LANES, place)
                sums.store(value, place)
                target.store(gelu(value), place)
        return context.get_dummy_value()

    return types.void(product, bias, raw, active, types.UniTuple(types.intp, 7)), codegen  # type: ignore[no-untyped-call]


def _emit_shift(typing, product, bias, u, sign, numbers):  # type: ignore[no-untyped-def]
    """8 channels of a tile times a sign, added to those of u_t."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at, position, channel, to, row, pixel = cgutils.unpack_tuple(builder, args[4])  # type: ignore[no-untyped-call]
        start, added, target = (
            memory_of(context, builder, signature, args, i, offset)
            for i, offset in enumerate((at, channel, to))
        )
        sign = splat(builder, args[3], GROUP)
        offset = added.load(GROUP)
        for y, line in enumerate(interpolate(builder, start, position, GROUP)):
            for x, value in enumerate(line):
                place = builder.add(multiple(builder, row, y), multiple(builder, pixel, x))
                target.store(sign * (value + offset) + target.load(GROUP, place), place)
        return context.get_dummy_value()

    return types.void(product, bias, u, sign, types.UniTuple(types.intp, 6)), codegen  # type: ignore[no-untyped-call]


def _emit_scale(typing, product, bias, u, sign, numbers):  # type: ignore[no-untyped-def]
    """8 channels of g and then of h1, applied to those of u_b; the inverse if the sign is -1."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at, position, channel, to, row, pixel = cgutils.unpack_tuple(builder, args[4])  # type: ignore[no-untyped-call]
        lanes = at.type(GROUP)
        tiles, offsets = (
            [
                memory_of(context, builder, signature, args, i, place)
                for place in (offset, builder.add(offset, lanes))
            ]
            for i, offset in enumerate((at, channel))
        )
        target = memory_of(context, builder, signature, args, 2, to)
        sign = splat(builder, args[3], GROUP)
        g, h1 = (interpolate(builder, tile, position, GROUP) for tile in tiles)
        g_offset, h1_offset = (offset.load(GROUP) for offset in offsets)
        wide_sign = sign.joined(sign)
        for y in range(TILE):
            factors: list[Vector] = []
            for left, right in (g[y][:2], g[y][2:]):  # two pixels fill a vector of 16
                both = (left + g_offset).joined(right + g_offset)
                factors += scale_factor(both, wide_sign).halves()
            for x, factor in enumerate(factors):
                place = builder.add(multiple(builder, row, y), multiple(builder, pixel, x))
                shift = h1[y][x] + h1_offset
                value = target.load(GROUP, place)
                forward, inverse = value * factor + shift, (value - shift) * factor
                target.store(sign.where_above(0, forward, inverse), place)
        return context.get_dummy_value()

    return types.void(product, bias, u, sign, types.UniTuple(types.intp, 6)), codegen  # type: ignore[no-untyped-call]


def _emit_activate_first(typing, product, bias, raw, active, numbers):  # type: ignore[no-untyped-def]
    return _emit_activate(typing, product, bias, raw, active, numbers, adds=False)  # type: ignore[no-untyped-call]


def _emit_activate_sum(typing, product, bias, raw, active, numbers):  # type: ignore[no-untyped-def]
    return _emit_activate(typing, product, bias, raw, active, numbers, adds=True)  # type: ignore[no-untyped-call]


_activate_first: Any = intrinsic(_emit_activate_first)
_activate_sum: Any = intrinsic(_emit_activate_sum)
_shift: Any = intrinsic(_emit_shift)
_scale: Any = intrinsic(_emit_scale)


@compiled_fast
def run_subnet(
    layers: tuple[Convolution, ...],
    u: Plane,
    start: int,
    step: tuple[bool, float],
    mixing: Values,
    mixed: Plane,
    shape: tuple[int, int],
    strips: tuple[int, int],
) -> None:
    """Compute h2 of u_b, or g and h1 of u_t, and change the other part of u in place.

    Args:
        layers: the first, the inner, and the last one. Outputs are padded to a multiple of 16;
            those of g and h1 alternate, 8 channels of each.
        u: plane of the picture with a border of zeros.
        start: first channel of u_b, a multiple of 8.
        step: whether to compute g and h1; and 1, or -1 for the inverse.
        mixing: (C, C) for all channels of u, or (0, 0) for none.
        mixed: where u goes then.
        shape: height and width of the picture.
        strips: the first one to be changed, and the one after the last.
    """
    last, features = len(layers) - 1, layers[0][1].size
    active = aligned(last * _KEPT_ROWS * u.shape[1] * features).reshape(
        (last, _KEPT_ROWS, u.shape[1], features)
    )
    raw = aligned(last * TILE * u.shape[1] * features).reshape((last * TILE, u.shape[1], features))
    scratch = _scratch(layers)
    for time in range(strips[0] - last, strips[1] + last):
        for index in range(last):
            strip = time - index
            around = (last - index + TILE - 1) // TILE  # strips of whose rows the last layer needs
            if not strips[0] - around <= strip < strips[1] + around:
                continue
            row = TILE * strip % _KEPT_ROWS
            if 0 <= TILE * strip < shape[0]:
                source, place = u, (TILE * strip, 0 if step[0] else start)
                if index > 0:
                    source, place = active[index - 1], (TILE * strip - 1, 0)
                rows = TILE * (strip % last), row
                target = active[index]
                _activate_strip(source, place, layers[index], raw, target, rows, index > 0, scratch)
            _clear_outside(active[index], row, strip, shape)
        strip = time - last
        if strip >= strips[0]:
            place = (TILE * strip - 1, start if step[0] else 0)
            _change_strip(active[last - 1], place, layers[last], u, step, scratch)
            _clear_outside(u, 1 + TILE * strip, strip, shape)
            if mixing.size:
                for row in range(1 + TILE * strip, 1 + TILE * strip + TILE):
                    multiply_row(u, mixing, mixed, row)


@compiled_fast
def _scratch(layers: tuple[Convolution, ...]) -> tuple[Values, Values]:
    """Memory for the transformed inputs and for the products of any layer."""
    inputs, outputs = 0, 0
    for kernel, _ in layers:
        inputs = max(inputs, (kernel.shape[1] + LANES - 1) // LANES * LANES)
        outputs = max(outputs, kernel.shape[2])
    return (
        aligned(POSITIONS * TILES_AT_ONCE * inputs),
        aligned(POSITIONS * TILES_AT_ONCE * outputs),
    )


@compiled_fast
def _activate_strip(
    source: Plane,
    place: tuple[int, int],
    layer: Convolution,
    raw: Plane,
    active: Plane,
    rows: tuple[int, int],
    adds: bool,
    scratch: tuple[Values, Values],
) -> None:
    """A strip of a layer, before and after the GELU.

    Args:
        source: what the layer gets.
        place: in it, first row of the windows and first channel.
        layer: kernel and bias.
        raw: before the GELU.
        active: after the GELU.
        rows: the first one in ``raw``, and in ``active``.
        adds: add the layer to ``raw``.
        scratch: see :func:`_scratch`.
    """
    kernel, bias = layer
    left, product = scratch
    channels = active.shape[2]
    row = active.shape[1] * channels
    tiles = (active.shape[1] - 2) // TILE
    for first in range(0, tiles, TILES_AT_ONCE):
        count = min(TILES_AT_ONCE, tiles - first)
        multiply_tiles(source, place, kernel, (first, count), left, product)
        for t in range(count):
            to = (1 + TILE * (first + t)) * channels
            for c in range(0, channels, LANES):
                to_raw, to_active = rows[0] * row + to + c, rows[1] * row + to + c
                at, position = t * channels + c, TILES_AT_ONCE * channels
                numbers = at, position, c, to_raw, to_active, row, channels
                if adds:
                    _activate_sum(product, bias, raw, active, numbers)
                else:
                    _activate_first(product, bias, raw, active, numbers)


@compiled_fast
def _change_strip(
    source: Plane,
    place: tuple[int, int],
    layer: Convolution,
    u: Plane,
    step: tuple[bool, float],
    scratch: tuple[Values, Values],
) -> None:
    """Apply the last layer of a subnet to a strip of u.

    Args:
        source: what the layer gets.
        place: first row of the windows in ``source``, and first channel of u to be changed.
        layer: kernel and bias.
        u: is changed in place.
        step: as for :func:`run_subnet`.
        scratch: see :func:`_scratch`.
    """
    kernel, bias = layer
    left, product = scratch
    scales, sign = step[0], np.float32(step[1])
    outputs, channels = kernel.shape[2], u.shape[2]
    row = u.shape[1] * channels
    tiles = (u.shape[1] - 2) // TILE
    for first in range(0, tiles, TILES_AT_ONCE):
        count = min(TILES_AT_ONCE, tiles - first)
        multiply_tiles(source, (place[0], 0), kernel, (first, count), left, product)
        for t in range(count):
            to = (2 + place[0]) * row + (1 + TILE * (first + t)) * channels + place[1]
            at, position = t * outputs, TILES_AT_ONCE * outputs
            if scales:
                for c in range(0, outputs // 2, GROUP):
                    numbers = at + 2 * c, position, 2 * c, to + c, row, channels
                    _scale(product, bias, u, sign, numbers)
            else:
                for c in range(0, outputs, GROUP):
                    numbers = at + c, position, c, to + c, row, channels
                    _shift(product, bias, u, sign, numbers)


@compiled_fast
def _clear_outside(plane: Plane, row: int, strip: int, shape: tuple[int, int]) -> None:
    """Set what lies below and on the right of the picture to zero, in the rows of a strip."""
    for y in range(TILE):
        is_inside = 0 <= TILE * strip + y < shape[0]
        plane[row + y, 1 + shape[1] if is_inside else 0 :] = 0
