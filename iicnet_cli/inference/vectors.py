"""Vectors of float32 in LLVM code, for the inner loops that Numba does not keep in registers.

A function for :func:`numba.extending.intrinsic` writes its code with these classes::

    def codegen(context, builder, signature, args):
        source, target = (memory_of(context, builder, signature, args, i) for i in (0, 1))
        target.store(2 * source.load(8) + 1, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from llvmlite import ir  # type: ignore[import-untyped]

_FLOAT = ir.FloatType()
_CONTRACT = ("contract", "nsz")
"""A product and a sum may become one operation, and 0 is as good as -0."""


class Vector:
    """Some float32 that are computed together.

    Args:
        builder: of LLVM code.
        value: of a vector type.
    """

    def __init__(self, builder: Any, value: Any) -> None:
        self.value = value
        self._builder = builder

    def __add__(self, other: Self | float) -> Vector:
        return self._calculate("fadd", other)

    def __sub__(self, other: Self | float) -> Vector:
        return self._calculate("fsub", other)

    def __mul__(self, other: Self | float) -> Vector:
        return self._calculate("fmul", other)

    def __truediv__(self, other: Self | float) -> Vector:
        return self._calculate("fdiv", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Vector:
        return self._like(other) - self

    def __rtruediv__(self, other: float) -> Vector:
        return self._like(other) / self

    def at_most(self, limit: float) -> Vector:
        """The smaller one of each number and a limit."""
        return self.where_above(limit, self._like(limit), self)

    def at_least(self, limit: float) -> Vector:
        """The greater one of each number and a limit."""
        return self.where_above(limit, self, self._like(limit))

    def where_above(self, limit: float, above: Vector, otherwise: Vector) -> Vector:
        """Numbers of ``above`` where those of this vector exceed a limit, else ``otherwise``."""
        choice = self._builder.fcmp_ordered(">", self.value, self._like(limit).value)
        return Vector(self._builder, self._builder.select(choice, above.value, otherwise.value))

    def joined(self, other: Self) -> Vector:
        """These numbers and those of a vector of the same size, in one."""
        return self._shuffled(other, range(2 * self.value.type.count))

    def halves(self) -> tuple[Vector, Vector]:
        """The first and the second half of the numbers."""
        middle = self.value.type.count // 2
        first = self._shuffled(self, range(middle))
        return first, self._shuffled(self, range(middle, 2 * middle))

    def polynomial(self, coefficients: Sequence[float]) -> Vector:
        """A polynomial of each number, its highest coefficient first."""
        first, *others = coefficients
        total = self._like(first)
        for coefficient in others:
            total = total * self + coefficient
        return total

    def _like(self, value: float) -> Vector:
        kind = self.value.type
        return Vector(self._builder, ir.Constant(kind, [float(value)] * kind.count))

    def _shuffled(self, other: Vector, places: Sequence[int]) -> Vector:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), list(places))
        return Vector(self._builder, self._builder.shuffle_vector(self.value, other.value, mask))

    def _calculate(self, operation: str, other: Vector | float) -> Vector:
        right = other if isinstance(other, Vector) else self._like(other)
        emit = getattr(self._builder, operation)
        return Vector(self._builder, emit(self.value, right.value, flags=_CONTRACT))


class Memory:
    """Float32 from some address on.

    Args:
        builder: of LLVM code.
        pointer: to the first number.
    """

    def __init__(self, builder: Any, pointer: Any) -> None:
        self._builder, self._pointer = builder, pointer

    def load(self, lanes: int, offset: Any = None) -> Vector:
        """So many numbers, from an offset on."""
        return Vector(self._builder, self._builder.load(self._address(lanes, offset), align=4))

    def store(self, vector: Vector, offset: Any = None) -> None:
        """Write the numbers of a vector at an offset."""
        address = self._address(vector.value.type.count, offset)
        self._builder.store(vector.value, address, align=4)

    def repeat(self, lanes: int, offset: Any) -> Vector:
        """A vector whose numbers are all the one at an offset."""
        number = self._builder.load(self._builder.gep(self._pointer, [offset]))
        return splat(self._builder, number, lanes)

    def _address(self, lanes: int, offset: Any) -> Any:
        at = self._pointer if offset is None else self._builder.gep(self._pointer, [offset])
        return self._builder.bitcast(at, ir.VectorType(_FLOAT, lanes).as_pointer())


def memory_of(
    context: Any, builder: Any, signature: Any, args: Any, index: int, offset: Any
) -> Memory:
    """What an argument, a C-contiguous array of float32, holds from an offset on."""
    array = context.make_array(signature.args[index])(context, builder, args[index])
    return Memory(builder, builder.gep(array.data, [offset]))


def splat(builder: Any, number: Any, lanes: int) -> Vector:
    """A vector whose numbers are all the same."""
    undefined = ir.Constant(ir.VectorType(_FLOAT, lanes), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return Vector(builder, builder.shuffle_vector(first, undefined, mask))


def multiple(builder: Any, stride: Any, factor: int) -> Any:
    """An offset times a constant."""
    return builder.mul(stride, ir.Constant(stride.type, factor))


def zeros(builder: Any, lanes: int) -> Vector:
    """A vector of zeros."""
    return Vector(builder, ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes))
