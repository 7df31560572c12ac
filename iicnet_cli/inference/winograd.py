"""3x3 convolution by Winograd's algorithm F(4x4, 3x3), compiled by Numba.

A tile Y of 4x4 outputs is computed from the window D of 6x6 inputs around it, for a kernel W, as
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, equation 8)

    Y = A' [ (G W G') * (B' D B) ] A

where * multiplies element by element and is summed over the input channels: 36 multiplications a
pair of channels instead of 144. The one-dimensional form multiplies two polynomials by their values
at the points 0, 1, -1, 2, -2 and infinity, one point a row of the matrices: G evaluates the kernel,
B' (transposed: Toom-Cook) the inputs, A' interpolates.

At each of the 36 positions the sum over channels is a matrix product, tiles by channels, which is
where most time goes. The steps in it work on vectors of 16 channels, written as LLVM code:

1. ``_transform_input``: B' D B of one window;
2. ``_multiply_narrow``, ``_multiply_wide``: 6 tiles by 16 or 32 output channels, the sums in
   registers;
3. :func:`interpolate`: A' M A of one tile. What is done with a tile then is up to the caller.

Activations are planes of (rows, columns + 2, channels) float32: a border of zeros is around them,
and the number of columns is a multiple of 4. The memory of a plane goes on for 16 numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from iicnet_cli.inference.vectors import Memory, Vector, memory_of, multiple, zeros
from iicnet_cli.jit import compiled_fast

Plane = NDArray[np.float32]

LANES = 16
"""A vector has this many channels, which fill a cache line; outputs of a kernel are a multiple."""
TILE = 4
"""A tile has this many rows and columns of outputs."""

_WINDOW = TILE + 2
POSITIONS = _WINDOW * _WINDOW
"""A tile is multiplied at this many positions."""
_TILES_OF_KERNEL = 6
"""The matrix kernel multiplies this many rows at a time; then all sums stay in registers."""
_HAS_MANY_REGISTERS = bool(binding.get_host_cpu_features().get("avx512f"))
"""Whether the sums of two vectors of outputs fit into registers; one leaves some CPUs waiting."""
TILES_AT_ONCE = 36
"""Tiles are transformed and multiplied in blocks of this many, which fit into the cache."""

_KERNEL = np.array(
    [
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ]
)
"""G of the module's docstring."""


def transform_kernel(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(outputs, inputs, 3, 3) to (36, inputs, outputs); outputs are a multiple of 16."""
    wide = np.einsum("ik,ockl,jl->ijco", _KERNEL, weight.astype(np.float64), _KERNEL)
    return np.ascontiguousarray(wide.reshape(POSITIONS, *wide.shape[2:]), np.float32)


def _evaluate(x: list[Vector]) -> list[Vector]:
    """B' x of 6 numbers.

    B' has the rows (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1).
    """
    even, odd = x[4] - 4 * x[2], x[3] - 4 * x[1]
    even_of_2, odd_of_2 = x[4] - x[2], 2 * (x[3] - x[1])
    return [
        4 * x[0] - 5 * x[2] + x[4],
        even + odd,
        even - odd,
        even_of_2 + odd_of_2,
        even_of_2 - odd_of_2,
        4 * x[1] - 5 * x[3] + x[5],
    ]


def _interpolate(m: list[Vector]) -> list[Vector]:
    """A' m of 6 numbers.

    A' has the rows (1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1).
    """
    even, odd = m[1] + m[2], m[1] - m[2]
    even_of_2, odd_of_2 = m[3] + m[4], m[3] - m[4]
    return [
        m[0] + even + even_of_2,
        odd + 2 * odd_of_2,
        even + 4 * even_of_2,
        odd + 8 * odd_of_2 + m[5],
    ]


def _along_both_axes(transform: Any, square: list[list[Vector]]) -> list[list[Vector]]:
    """Transform the columns of a square, then its rows."""
    columns = [transform(list(column)) for column in zip(*square, strict=True)]
    return [transform(list(row)) for row in zip(*columns, strict=True)]


def interpolate(
    builder: Any, product: Memory, position: Any, lanes: int = LANES
) -> list[list[Vector]]:
    """Write code for A' M A of one tile: 4x4 vectors of channels.

    Args:
        builder: of LLVM code.
        product: of the tile and some channels, at the first position.
        position: the offset from one position to the next.
        lanes: number of channels.
    """
    square = [
        [product.load(lanes, multiple(builder, position, _WINDOW * y + x)) for x in range(_WINDOW)]
        for y in range(_WINDOW)
    ]
    return _along_both_axes(_interpolate, square)


def _emit_transform_input(typing, source, rows, target, numbers):  # type: ignore[no-untyped-def]
    """16 channels of one window of 6x6 pixels to 36 positions."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at, pixel, to, position = cgutils.unpack_tuple(builder, args[3])  # type: ignore[no-untyped-call]
        lines = [
            memory_of(context, builder, signature, args, 0, builder.add(row, at))
            for row in cgutils.unpack_tuple(builder, args[1])  # type: ignore[no-untyped-call]
        ]
        out = memory_of(context, builder, signature, args, 2, to)
        square = [
            [line.load(LANES, multiple(builder, pixel, x)) for x in range(_WINDOW)]
            for line in lines
        ]
        for y, line in enumerate(_along_both_axes(_evaluate, square)):
            for x, value in enumerate(line):
                out.store(value, multiple(builder, position, _WINDOW * y + x))
        return context.get_dummy_value()

    offsets = types.UniTuple(types.intp, _WINDOW)  # type: ignore[no-untyped-call]
    return types.void(source, offsets, target, types.UniTuple(types.intp, 4)), codegen  # type: ignore[no-untyped-call]


_transform_input: Any = intrinsic(_emit_transform_input)


def _emit_multiply(typing, left, right, out, numbers, *, vectors):  # type: ignore[no-untyped-def]
    """6 rows of ``left`` times so many vectors of 16 columns of ``right``."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        at, stride, by, width, to, out_stride, depth = cgutils.unpack_tuple(builder, args[3])  # type: ignore[no-untyped-call]
        a, m, o = (
            memory_of(context, builder, signature, args, i, offset)
            for i, offset in enumerate((at, by, to))
        )
        lanes, rows = LANES, range(_TILES_OF_KERNEL)
        columns = [ir.Constant(depth.type, lanes * i) for i in range(vectors)]
        before = builder.block
        loop, after = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(depth.type)
        k.add_incoming(ir.Constant(depth.type, 0), before)
        none = zeros(builder, lanes)
        sums = [[builder.phi(none.value.type) for _ in columns] for _ in rows]
        start = builder.mul(k, width)
        line = [m.load(lanes, builder.add(start, column)) for column in columns]
        following = builder.add(k, ir.Constant(depth.type, 1))
        totals = []
        for i, of_row in enumerate(sums):
            factor = a.repeat(lanes, builder.add(k, multiple(builder, stride, i)))
            for column, right_part, each in zip(columns, line, of_row, strict=True):
                total = factor * right_part + Vector(builder, each)
                each.add_incoming(none.value, before)
                each.add_incoming(total.value, loop)
                totals.append((i, column, total))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
        builder.position_at_end(after)
        for i, column, total in totals:
            o.store(total, builder.add(multiple(builder, out_stride, i), column))
        return context.get_dummy_value()

    return types.void(left, right, out, types.UniTuple(types.intp, 7)), codegen  # type: ignore[no-untyped-call]


def _emit_multiply_narrow(typing, left, right, out, numbers):  # type: ignore[no-untyped-def]
    return _emit_multiply(typing, left, right, out, numbers, vectors=1)  # type: ignore[no-untyped-call]


def _emit_multiply_wide(typing, left, right, out, numbers):  # type: ignore[no-untyped-def]
    return _emit_multiply(typing, left, right, out, numbers, vectors=2)  # type: ignore[no-untyped-call]


_multiply_narrow: Any = intrinsic(_emit_multiply_narrow)
_multiply_wide: Any = intrinsic(_emit_multiply_wide)


@compiled_fast
def aligned(size: int) -> NDArray[np.float32]:
    """Zeros that begin with a cache line, so that no vector of 16 lies in two."""
    numbers = np.zeros(size + LANES, np.float32)
    start = -(numbers.ctypes.data // 4) % LANES
    return numbers[start : start + size]


@compiled_fast
def multiply_tiles(
    source: Plane,
    place: tuple[int, int],
    kernel: NDArray[np.float32],
    tiles: tuple[int, int],
    left: NDArray[np.float32],
    product: NDArray[np.float32],
) -> None:
    """Transform some tiles of a row of tiles, and multiply them by a kernel at each position.

    Args:
        source: plane whose channels are convolved; its rows are used in cyclic order.
        place: first row of the windows, and first channel.
        kernel: (36, inputs, outputs) of :func:`transform_kernel`.
        tiles: the first one and their number, at most ``TILES_AT_ONCE``.
        left: scratch of 36 * ``TILES_AT_ONCE`` times the inputs, padded to a multiple of 16.
        product: (36, ``TILES_AT_ONCE``, outputs), the result, flattened.
    """
    (row, channel), (first, count) = place, tiles
    inputs, outputs = kernel.shape[1], kernel.shape[2]
    stride = (inputs + LANES - 1) // LANES * LANES
    rows, columns, channels = source.shape
    line = columns * channels
    lines = (
        row % rows * line,
        (row + 1) % rows * line,
        (row + 2) % rows * line,
        (row + 3) % rows * line,
        (row + 4) % rows * line,
        (row + 5) % rows * line,
    )
    for t in range(count):
        for c in range(0, stride, LANES):
            at = TILE * (first + t) * channels + channel + c
            window = at, channels, t * stride + c, TILES_AT_ONCE * stride
            _transform_input(source, lines, left, window)
    for position in range(POSITIONS):
        n = 0
        while n < outputs:
            is_wide = _HAS_MANY_REGISTERS and outputs - n >= 2 * LANES
            by = position * inputs * outputs + n
            for t in range(0, count, _TILES_OF_KERNEL):
                at = position * TILES_AT_ONCE * stride + t * stride
                to = position * TILES_AT_ONCE * outputs + t * outputs + n
                numbers = at, stride, by, outputs, to, outputs, inputs
                if is_wide:
                    _multiply_wide(left, kernel, product, numbers)
                else:
                    _multiply_narrow(left, kernel, product, numbers)
            n += 2 * LANES if is_wide else LANES


@compiled_fast
def multiply_strips(
    source: Plane, weight: NDArray[np.float32], out: Plane, strips: tuple[int, int]
) -> None:
    """Multiply all pixels of some strips by a matrix, as :func:`multiply_row` does.

    Args:
        source: plane of C channels.
        weight: (C, C).
        out: plane like ``source``.
        strips: the first one, and the one after the last.
    """
    for row in range(1 + TILE * strips[0], 1 + TILE * strips[1]):
        multiply_row(source, weight, out, row)


@compiled_fast
def multiply_row(source: Plane, weight: NDArray[np.float32], out: Plane, row: int) -> None:
    """Multiply all pixels of a row, (C) each, by a (C, C) matrix from the right; C >= 16."""
    columns, channels = source.shape[1], source.shape[2]
    for at in range(0, columns, _TILES_OF_KERNEL):
        start = (row * columns + min(at, columns - _TILES_OF_KERNEL)) * channels
        n = 0
        while n < channels:
            if _HAS_MANY_REGISTERS and channels - n >= 2 * LANES:
                numbers = start, channels, n, channels, start + n, channels, channels
                _multiply_wide(source, weight, out, numbers)
                n += 2 * LANES
            else:
                column = min(n, channels - LANES)
                numbers = start, channels, column, channels, start + column, channels, channels
                _multiply_narrow(source, weight, out, numbers)
                n += LANES
