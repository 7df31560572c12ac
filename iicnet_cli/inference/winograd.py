"""3x3 convolution by Winograd's algorithm F(4x4, 3x3), compiled by Numba.

A tile of 4x4 outputs takes 36 multiplications a pair of channels instead of 144 (Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks", CVPR 2016). The three inner steps work on
vectors of 16 channels, which LLVM maps to the instructions of the processor.

Activations are planes of (rows + 2, columns + 2, channels) float32: the numbers of rows and columns
are multiples of 4, with a border of zeros around them, and the channels are a multiple of 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

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
            self.ir.module, kind, f"llvm.fma.v{self._lanes}f32"
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


def _emit_transform_output(typing, source, at, position, bias, channel, target, to, row, pixel):  # type: ignore[no-untyped-def]
    """36 positions of 8 channels to a tile of 4x4 pixels."""
    n = types.intp
    arguments = (source, n, n, bias, n, target, n, n, n)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        b = _Builder(context, builder, 8)
        start = b.pointer(signature.args[0], args[0], args[1])
        added = b.load(b.pointer(signature.args[3], args[3], args[4]), ir.Constant(args[4].type, 0))
        end = b.pointer(signature.args[5], args[5], args[6])
        square = [
            [b.load(start, b.multiple(args[2], _WINDOW * i + j)) for j in range(_WINDOW)]
            for i in range(_WINDOW)
        ]
        for y, line in enumerate(_transform_square(b, _OUTPUT, square)):
            for x, value in enumerate(line):
                offset = builder.add(b.multiple(args[7], y), b.multiple(args[8], x))
                b.store(builder.fadd(value, added), end, offset)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


_transform_output: Any = intrinsic(_emit_transform_output)


def _emit_multiply(typing, left, at, stride, right, by, width, out, to, out_stride, depth):  # type: ignore[no-untyped-def]
    """6 rows of ``left`` times 16 columns of ``right``."""
    n = types.intp
    arguments = (left, n, n, right, n, n, out, n, n, n)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        b = _Builder(context, builder)
        a = b.pointer(signature.args[0], args[0], args[1])
        m = b.pointer(signature.args[3], args[3], args[4])
        o = b.pointer(signature.args[6], args[6], args[7])
        count = args[9]
        zero, one = ir.Constant(count.type, 0), ir.Constant(count.type, 1)
        before = builder.block
        loop, after = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(count.type)
        k.add_incoming(zero, before)
        sums = [builder.phi(b.vector) for _ in range(_TILES_OF_KERNEL)]
        for each in sums:
            each.add_incoming(b.constant(0), before)
        line = b.load(m, builder.mul(k, args[5]))
        following = builder.add(k, one)
        for i, each in enumerate(sums):
            scalar = builder.load(builder.gep(a, [builder.add(k, b.multiple(args[2], i))]))
            each.add_incoming(b.multiply_add(b.splat(scalar), line, each), loop)
        k.add_incoming(following, loop)
        totals = [each.incomings[1][0] for each in sums]
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        for i, total in enumerate(totals):
            b.store(total, o, b.multiple(args[8], i))
        return context.get_dummy_value()

    return types.void(*arguments), codegen


_multiply: Any = intrinsic(_emit_multiply)


@njit(nogil=True, fastmath=True)
def convolve_strip(
    source: Plane,
    first_channel: int,
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
    tile_row: int,
    out: Plane,
    left: NDArray[np.float32],
    product: NDArray[np.float32],
) -> None:
    """Convolve four rows.

    Args:
        source: plane whose channels from ``first_channel`` on are convolved.
        first_channel: a multiple of 16.
        kernel: (36, inputs, outputs) of :func:`transform_kernel`.
        bias: (outputs,).
        tile_row: index of the row of tiles.
        out: (4, columns, outputs), contiguous.
        left: scratch of 36 * ``TILES_AT_ONCE`` * inputs.
        product: scratch of 36 * ``TILES_AT_ONCE`` * outputs.
    """
    inputs, outputs = kernel.shape[1], kernel.shape[2]
    columns, channels = source.shape[1], source.shape[2]
    tiles = (columns - 2) // 4
    row = columns * channels
    out_row = out.shape[1] * outputs
    for first in range(0, tiles, 36):
        count = min(36, tiles - first)
        padded = -(-count // 6) * 6
        for t in range(count):
            at = 4 * tile_row * row + 4 * (first + t) * channels + first_channel
            for c in range(0, inputs, 8):
                _transform_input(source, at + c, row, channels, left, t * inputs + c, 36 * inputs)
        for position in range(36):
            base = position * 36
            for n in range(0, outputs, 16):
                for t in range(0, padded, 6):
                    _multiply(
                        left,
                        (base + t) * inputs,
                        inputs,
                        kernel,
                        position * inputs * outputs + n,
                        outputs,
                        product,
                        (base + t) * outputs + n,
                        outputs,
                        inputs,
                    )
        for t in range(count):
            for n in range(0, outputs, 8):
                _transform_output(
                    product,
                    t * outputs + n,
                    36 * outputs,
                    bias,
                    n,
                    out,
                    4 * (first + t) * outputs + n,
                    out_row,
                    outputs,
                )


@njit(nogil=True, fastmath=True)
def multiply_rows(source: Plane, weight: NDArray[np.float32], out: Plane, row: int) -> None:
    """Multiply all pixels of a row, (C) each, by a (C, C) matrix from the right."""
    columns, channels = source.shape[1], source.shape[2]
    base = row * columns * channels
    at = 0
    while at < columns:
        start = base + min(at, columns - 6) * channels
        for n in range(0, channels, 16):
            _multiply(
                source, start, channels, weight, n, channels, out, start + n, channels, channels
            )
        at += 6
