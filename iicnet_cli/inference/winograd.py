"""3x3 convolution by Winograd's algorithm F(4x4, 3x3), compiled by Numba.

A tile Y of 4x4 outputs is computed from the window D of 6x6 inputs around it, for a kernel W, as
(Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, equation 8)

    Y = A' [ (G W G') * (B' D B) ] A

where * multiplies element by element and is summed over the input channels: 36 multiplications a
pair of channels instead of 144. The one-dimensional form multiplies two polynomials by their values
at the points 0, 1, -1, 2, -2 and infinity, one point a row of the matrices: G evaluates the kernel,
B' (transposed: Toom-Cook) the inputs, A' interpolates. ``_INPUT`` is B', ``_KERNEL`` is G,
``_OUTPUT`` is A'.

At each of the 36 positions the sum over channels is a matrix product, tiles by channels, which is
where nearly all time goes. The steps in it work on vectors of 8 or 16 channels, written as LLVM
code, because Numba does not keep such sums in registers:

1. ``_transform_input``: B' D B of one window;
2. ``_multiply``: 6 tiles by 16 output channels, the sums in registers;
3. ``_transform_output``: A' M A of one tile, and the bias.

Activations are planes of (rows + 2, columns + 2, channels) float32: the numbers of rows and columns
are multiples of 4, with a border of zeros around them, and the channels are a multiple of 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from iicnet_cli.jit import compiled_fast

Plane = NDArray[np.float32]

LANES = 16
"""Channels are computed in vectors of this many; their number is padded to a multiple of it."""
TILE = 4
"""A tile has this many rows and columns of outputs."""

_WINDOW = TILE + 2
_POSITIONS = _WINDOW * _WINDOW
_TILES_OF_KERNEL = 6
"""The matrix kernel multiplies this many rows at a time; then all sums stay in registers."""
TILES_AT_ONCE = 36
"""Tiles are transformed and multiplied in blocks of this many, which fit into the cache."""

# B', A' and G of the module's docstring.
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
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


def transform_kernel(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(outputs, inputs, 3, 3), in multiples of 16 channels, to (36, inputs, outputs)."""
    wide = np.einsum("ik,ockl,jl->ijco", _KERNEL, weight.astype(np.float64), _KERNEL)
    return np.ascontiguousarray(wide.reshape(_POSITIONS, *wide.shape[2:]), np.float32)


_FLOAT = ir.FloatType()


class _Builder:
    """Emits vector code into a Numba intrinsic."""

    def __init__(self, context: Any, builder: Any, lanes: int = LANES) -> None:
        self._context, self.ir, self._lanes = context, builder, lanes
        self.vector = ir.VectorType(_FLOAT, lanes)

    def pointer(self, array_type: Any, array: Any, offset: Any) -> Any:
        data = self._context.make_array(array_type)(self._context, self.ir, array).data
        return self.ir.gep(data, [offset])

    def load(self, pointer: Any, offset: Any) -> Any:
        at = self.ir.bitcast(self.ir.gep(pointer, [offset]), self.vector.as_pointer())
        return self.ir.load(at, align=4)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        at = self.ir.bitcast(self.ir.gep(pointer, [offset]), self.vector.as_pointer())
        self.ir.store(value, at, align=4)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        fma = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self.ir.module, kind, f"llvm.fmuladd.v{self._lanes}f32"
        )
        return self.ir.call(fma, [a, b, c])

    def combine(self, factors: tuple[int, ...], vectors: list[Any]) -> Any:
        """The sum of vectors times small constant factors."""
        total = None
        for factor, vector in sorted(
            zip(factors, vectors, strict=True), key=lambda x: abs(x[0]) != 1
        ):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else self.ir.fmul(self.constant(factor), vector)
            elif abs(factor) == 1:
                total = (self.ir.fadd if factor == 1 else self.ir.fsub)(total, vector)
            else:
                total = self.multiply_add(self.constant(factor), vector, total)
        return total

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [float(value)] * self._lanes)

    def splat(self, scalar: Any) -> Any:
        first = self.ir.insert_element(
            ir.Constant(self.vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self._lanes), [0] * self._lanes)
        return self.ir.shuffle_vector(first, ir.Constant(self.vector, ir.Undefined), mask)

    def multiple(self, stride: Any, factor: int) -> Any:
        return self.ir.mul(stride, ir.Constant(stride.type, factor))


def _transform_square(b: _Builder, matrix: Any, square: list[list[Any]]) -> list[list[Any]]:
    """matrix @ square @ matrix.T, of vectors."""
    size = len(square)
    columns = [
        [b.combine(row, [square[i][j] for i in range(size)]) for row in matrix] for j in range(size)
    ]
    return [
        [b.combine(row, [columns[j][i] for j in range(size)]) for row in matrix]
        for i in range(len(matrix))
    ]


def _emit_transform_input(typing, source, at, row, pixel, target, to, position):  # type: ignore[no-untyped-def]
    """8 channels of one window of 6x6 pixels to 36 positions."""
    arguments = (source, types.intp, types.intp, types.intp, target, types.intp, types.intp)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        b = _Builder(context, builder, 8)
        start = b.pointer(signature.args[0], args[0], args[1])
        end = b.pointer(signature.args[4], args[4], args[5])
        square = [
            [
                b.load(start, builder.add(b.multiple(args[2], y), b.multiple(args[3], x)))
                for x in range(_WINDOW)
            ]
            for y in range(_WINDOW)
        ]
        for i, line in enumerate(_transform_square(b, _INPUT, square)):
            for j, value in enumerate(line):
                b.store(value, end, b.multiple(args[6], _WINDOW * i + j))
        return context.get_dummy_value()

    return types.void(*arguments), codegen


_transform_input: Any = intrinsic(_emit_transform_input)


def _emit_transform_output(typing, source, bias, target, numbers):  # type: ignore[no-untyped-def]
    """36 positions of 8 channels to a tile of 4x4 pixels."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        b = _Builder(context, builder, 8)
        at, position, channel, to, row, pixel = cgutils.unpack_tuple(builder, args[3])  # type: ignore[no-untyped-call]
        start = b.pointer(signature.args[0], args[0], at)
        added = b.load(b.pointer(signature.args[1], args[1], channel), ir.Constant(at.type, 0))
        end = b.pointer(signature.args[2], args[2], to)
        square = [
            [b.load(start, b.multiple(position, _WINDOW * i + j)) for j in range(_WINDOW)]
            for i in range(_WINDOW)
        ]
        for y, line in enumerate(_transform_square(b, _OUTPUT, square)):
            for x, value in enumerate(line):
                offset = builder.add(b.multiple(row, y), b.multiple(pixel, x))
                b.store(builder.fadd(value, added), end, offset)
        return context.get_dummy_value()

    return types.void(source, bias, target, types.UniTuple(types.intp, 6)), codegen  # type: ignore[no-untyped-call]


_transform_output: Any = intrinsic(_emit_transform_output)


def _emit_multiply(typing, left, right, out, numbers):  # type: ignore[no-untyped-def]
    """6 rows of ``left`` times 16 columns of ``right``."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        b = _Builder(context, builder)
        at, stride, by, width, to, out_stride, depth = cgutils.unpack_tuple(builder, args[3])  # type: ignore[no-untyped-call]
        a = b.pointer(signature.args[0], args[0], at)
        m = b.pointer(signature.args[1], args[1], by)
        o = b.pointer(signature.args[2], args[2], to)
        zero, one = ir.Constant(depth.type, 0), ir.Constant(depth.type, 1)
        before = builder.block
        loop, after = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(depth.type)
        k.add_incoming(zero, before)
        sums = [builder.phi(b.vector) for _ in range(_TILES_OF_KERNEL)]
        line = b.load(m, builder.mul(k, width))
        following = builder.add(k, one)
        totals = []
        for i, each in enumerate(sums):
            scalar = builder.load(builder.gep(a, [builder.add(k, b.multiple(stride, i))]))
            totals.append(b.multiply_add(b.splat(scalar), line, each))
            each.add_incoming(b.constant(0), before)
            each.add_incoming(totals[-1], loop)
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
        builder.position_at_end(after)
        for i, total in enumerate(totals):
            b.store(total, o, b.multiple(out_stride, i))
        return context.get_dummy_value()

    return types.void(left, right, out, types.UniTuple(types.intp, 7)), codegen  # type: ignore[no-untyped-call]


_multiply: Any = intrinsic(_emit_multiply)


@compiled_fast
def convolve_strip(
    source: Plane,
    first_channel: int,
    layer: tuple[NDArray[np.float32], NDArray[np.float32]],
    tile_row: int,
    out: Plane,
    left: NDArray[np.float32],
    product: NDArray[np.float32],
) -> None:
    """Convolve four rows.

    Args:
        source: plane whose channels from ``first_channel`` on are convolved.
        first_channel: a multiple of 16.
        layer: kernel (36, inputs, outputs) of :func:`transform_kernel`, and bias (outputs,).
        tile_row: index of the row of tiles.
        out: (4, columns, outputs), contiguous.
        left: scratch of 36 * ``TILES_AT_ONCE`` * inputs.
        product: scratch of 36 * ``TILES_AT_ONCE`` * outputs.
    """
    kernel, bias = layer
    inputs, outputs = kernel.shape[1], kernel.shape[2]
    columns, channels = source.shape[1], source.shape[2]
    row, out_row = columns * channels, out.shape[1] * outputs
    tiles = (columns - 2) // TILE
    for first in range(0, tiles, TILES_AT_ONCE):
        count = min(TILES_AT_ONCE, tiles - first)
        for t in range(count):
            at = TILE * tile_row * row + TILE * (first + t) * channels + first_channel
            for c in range(0, inputs, 8):
                _transform_input(
                    source, at + c, row, channels, left, t * inputs + c, TILES_AT_ONCE * inputs
                )
        _multiply_positions(left, kernel, product, count)
        for t in range(count):
            to = TILE * (first + t) * outputs
            for n in range(0, outputs, 8):
                at = t * outputs + n
                numbers = at, TILES_AT_ONCE * outputs, n, to + n, out_row, outputs
                _transform_output(product, bias, out, numbers)


@compiled_fast
def _multiply_positions(
    left: NDArray[np.float32],
    kernel: NDArray[np.float32],
    product: NDArray[np.float32],
    count: int,
) -> None:
    """Multiply ``count`` tiles, at each of the 36 positions, by the kernel."""
    inputs, outputs = kernel.shape[1], kernel.shape[2]
    for position in range(_POSITIONS):
        for n in range(0, outputs, 16):
            by = position * inputs * outputs + n
            for t in range(0, count, _TILES_OF_KERNEL):
                at = position * TILES_AT_ONCE + t
                numbers = at * inputs, inputs, by, outputs, at * outputs + n, outputs, inputs
                _multiply(left, kernel, product, numbers)


@compiled_fast
def multiply_rows(source: Plane, weight: NDArray[np.float32], out: Plane, row: int) -> None:
    """Multiply all pixels of a row, (C) each, by a (C, C) matrix from the right."""
    columns, channels = source.shape[1], source.shape[2]
    for at in range(0, columns, _TILES_OF_KERNEL):
        start = (row * columns + min(at, columns - _TILES_OF_KERNEL)) * channels
        for n in range(0, channels, 16):
            numbers = start, channels, n, channels, start + n, channels, channels
            _multiply(source, weight, out, numbers)
