"""Bits of whole rows: a trellis code within error diffusion.

The bits of a message need not be the low bits of some samples. Here they are the syndrome of the
low bits of a whole row (Filler, Judas and Fridrich, 2011; of two low bits together, Ungerboeck,
1982): each low bit that is set adds its column to a register, which is shifted once for each bit of
the message, and that is the bit that falls out. So there are many roundings with the right bits,
and `trellis.py` looks for the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels

CODED = 8
"""Low bits of a sample, at most. More than that stand for a part of a code: of the one with so many
more bits to a pixel."""


@dataclass(frozen=True)
class Sample:
    """What a sample of a pixel adds to the register, and how often that is shifted then.

    Attributes:
        columns: what it adds for a low bit that is set, for one or two of them, the lower first;
            the first is odd where the register is shifted.
        bits: of the message, that the sample brings out: none, the one that falls out of the
            register, or that and its lowest bit, which is then not one of the former.
    """

    columns: tuple[int, ...]
    bits: int

    @property
    def plain(self) -> int:
        """Low bits that are bits of the message."""
        return max(0, self.bits - 1)

    @property
    def depth(self) -> int:
        """Low bits that matter."""
        return self.plain + len(self.columns)

    def added(self, low: int) -> int:
        """To the register, by these low bits."""
        total = 0
        for i, column in enumerate(self.columns, self.plain):
            total ^= column * (low >> i & 1)
        return total

    @cached_property
    def table(self) -> Pixels:
        """The same for all low bits."""
        return np.array([self.added(low) for low in range(1 << self.depth)], np.uint8)


@dataclass(frozen=True)
class _Step:
    """Transitions to each of the states after a sample, (J, S): from which, with which low bits.

    They are those of the syndrome 0; for others the low bits are changed.
    """

    sources: NDArray[np.intp]
    lows: Pixels


@dataclass(frozen=True)
class Code:
    """Of pixels of three samples; for those with one it is that of the last of these.

    Attributes:
        samples: three.
        states: of the register before and after a pixel.
    """

    samples: tuple[Sample, Sample, Sample]
    states: int

    def bits(self, channels: int) -> list[int]:
        """Of the message, that each of the samples of a pixel brings out."""
        return [sample.bits for sample in self.samples[-channels:]]

    def noise(self, channels: int) -> float:
        """Mean squared error, in levels, of rounding to its levels, about.

        That of rounding, four times as much for each bit to a sample. Without diffusion it is up to
        a fifth less, with it up to half as much again.
        """
        return 4 ** (sum(self.bits(channels)) / channels) / 12

    def steps(self, channels: int) -> list[_Step]:
        """Of each sample of a pixel."""
        states = self.states
        steps = []
        for sample in self.samples[-channels:]:
            found: dict[int, list[tuple[int, int]]] = {}
            for state, low in product(range(states), range(1 << len(sample.columns))):
                low <<= sample.plain
                after = state ^ sample.added(low)
                if sample.bits:
                    if after & 1:
                        continue
                    after >>= 1
                found.setdefault(after, []).append((state, low))
            states = len(found)
            transitions = np.array([found[state] for state in range(states)])
            steps.append(_Step(transitions[..., 0].T, transitions[..., 1].T.astype(np.uint8)))
        return steps


_BOTH = (0o13, 0o04)
_ONE, _TWO = Sample(_BOTH, 1), Sample(_BOTH, 2)
CODES = (
    Code((Sample((9,), 0), Sample((15,), 0), Sample((11,), 1)), 8),
    Code((Sample((7,), 0), Sample((5,), 1), Sample((7,), 1)), 4),
    Code((_ONE, _ONE, _ONE), 8),
    Code((_ONE, _ONE, _TWO), 8),
    Code((_ONE, _TWO, _TWO), 8),
    Code((_TWO, _TWO, _TWO), 8),
)
"""Those of one to six bits to a pixel."""


def extract_message(code: Code, levels: Pixels, coded: NDArray[np.bool_]) -> Pixels:
    """The message in these pixels.

    Args:
        code: theirs.
        levels: (H, W, C).
        coded: (H, W), pixels of the code.

    Returns:
        (H, W, C), the bits that each sample brings out; 0 elsewhere.
    """
    found = np.zeros_like(levels)
    samples = code.samples[-levels.shape[2] :]

    def low_of(x: int, c: int, register: Pixels) -> Pixels:
        sample = samples[c]
        low: Pixels = levels[:, x, c] & np.uint8((1 << sample.depth) - 1)
        if sample.bits:
            out = (register ^ sample.table[low]) & 1
            found[:, x, c] = ((low & sample.plain) << 1 | out) * coded[:, x]
        return low

    _put_through(samples, coded, low_of)
    return found


def coset_representative(code: Code, message: Pixels, coded: NDArray[np.bool_]) -> Pixels:
    """(H, W, C): some low bits that bring this message out; of other pixels, any."""
    lows = np.zeros_like(message)
    samples = code.samples[-message.shape[2] :]

    def low_of(x: int, c: int, register: Pixels) -> Pixels:
        sample = samples[c]
        if sample.bits:
            bits = message[:, x, c] * coded[:, x]
            lows[:, x, c] = ((bits ^ register) & 1) << sample.plain | bits >> 1
        return lows[:, x, c]

    _put_through(samples, coded, low_of)
    return lows


def _put_through(
    samples: Sequence[Sample],
    coded: NDArray[np.bool_],
    low_of: Callable[[int, int, Pixels], Pixels],
) -> None:
    """Put all rows of coded pixels (H, W) through a register each.

    Args:
        samples: of a pixel.
        coded: (H, W).
        low_of: the low bits (H,) of a column and channel, where the registers are these.
    """
    register = np.zeros(len(coded), np.uint8)
    for x in np.flatnonzero(coded.any(axis=0)):
        before = register.copy()
        for c, sample in enumerate(samples):
            register ^= sample.table[low_of(int(x), c, register)]
            if sample.bits:
                register >>= 1
        register = np.where(coded[:, x], register, before)
