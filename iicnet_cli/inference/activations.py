"""The nonlinear functions of coupling layers, as LLVM code for vectors."""

from __future__ import annotations

from iicnet_cli.inference.vectors import Vector

_NORMAL_TAIL = (
    0.0000430638,
    0.0002765672,
    0.0001520143,
    0.0092705272,
    0.0422820123,
    0.0705230784,
    1,
)
"""The -16th power of this polynomial in |x| / sqrt(2) is twice the tail of the normal distribution,
to 3e-7 (Abramowitz and Stegun 7.1.28)."""
_TANH_ABOVE = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_BELOW = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)
"""tanh(x) is x times a quotient of polynomials in x squared, up to |x| = 9 (that of Eigen)."""
_EXP = (
    1 / 3628800,
    1 / 362880,
    1 / 40320,
    1 / 5040,
    1 / 720,
    1 / 120,
    1 / 24,
    1 / 6,
    1 / 2,
    1,
    1,
)
"""The series of exp(x), for |x| up to 1."""


def gelu(x: Vector) -> Vector:
    """x times the normal distribution function."""
    z = (x.where_above(0, x, 0 - x) * 0.5**0.5).at_most(6)
    power = z.polynomial(_NORMAL_TAIL)
    for _ in range(4):
        power = power * power
    tail = 0.5 / power
    return x * x.where_above(0, 1 - tail, tail)


def scale_factor(g: Vector, sign: Vector) -> Vector:
    """exp(sign * tanh(g / 2))."""
    x = (g * 0.5).at_most(9).at_least(-9)
    square = x * x
    t = sign * x * square.polynomial(_TANH_ABOVE) / square.polynomial(_TANH_BELOW)
    return t.polynomial(_EXP)
