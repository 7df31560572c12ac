"""Error diffusion along the trellis of a code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.lattice import HALVES, STEPS, NoiseShapingFilter, exact, nearest
from iicnet_cli.quantize.trellis_codes import CODED, Code, coset_representative

_DELAY, _BLOCK = 5, 3
"""So many pixels are decided together, when so many behind them have had their say."""
_MEMORY = _DELAY + _BLOCK
"""Pixels of a row that are not yet decided, at most."""
_LAG = _MEMORY + 1
"""Pixels that a row is behind the one above, for it needs the errors to its upper right."""
_RING = _LAG + 3
"""Pixels of a row whose decided errors are at hand."""

Values = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class TrellisRows:
    """Rows whose pixels bring out a message.

    Attributes:
        code: of the message.
        levels: (H, W, C), as rounded to the nearest; what is decided is written there.
        remainder: of the same shape, what that took from the values, in 1/256 of a level.
        depths: likewise: more than ``CODED`` for all samples of a pixel that has a part of the
            message, or how many low bits are told.
        residues: likewise: the bits that a sample brings out, or these low bits.
        feedback: how errors are diffused.
        above: (W, C), errors of the row above.
    """

    code: Code
    levels: Pixels
    remainder: NDArray[np.int8]
    depths: Pixels
    residues: Pixels
    feedback: NoiseShapingFilter
    above: Values


Quantizer = Callable[[TrellisRows], Values]
"""As :func:`viterbi_quantize`."""


def viterbi_quantize(rows: TrellisRows) -> Values:
    """Round these rows; the errors of the last one, (W, C)."""
    return _Trellis(rows).errors


class _Trellis:
    """What :func:`viterbi_quantize` does.

    Of all levels with that message those are looked for whose diffused errors have the least
    squares (Viterbi algorithm): for each state of the code's register a survivor is kept, the best
    way to get there, which has its own errors behind it. A pixel is decided by the best survivor
    some pixels later; those that would have decided otherwise are given up.

    Attributes:
        errors: (W, C), of the last row.
    """

    def __init__(self, rows: TrellisRows) -> None:
        code, levels, depths, residues = rows.code, rows.levels, rows.depths, rows.residues
        height, self._width, channels = levels.shape
        coded = depths[..., 0] > CODED
        # Pixels of all rows, one after the other.
        self._levels = levels.reshape(-1, channels)
        self._rest = rows.remainder.reshape(-1, channels)
        self._depths = depths.reshape(-1, channels)
        self._residues = residues.reshape(-1, channels)
        self._coded = coded.reshape(-1)
        self._leader = coset_representative(code, residues, coded).reshape(-1, channels)
        self._samples = list(zip(code.samples[-channels:], code.steps(channels), strict=True))
        self._feedback = rows.feedback
        self._above = rows.above
        self.errors = np.zeros_like(rows.above)
        self._costs = np.full((code.states, height), np.inf, np.float32)
        self._costs[0] = 0
        # Of the last pixels, by time: for each state after one, the state before it, and the errors
        # and levels that led from there.
        self._origins = np.zeros((_MEMORY, code.states, height), np.intp)
        self._survivors = np.zeros((_MEMORY, 2, channels, code.states, height), np.float32)
        # Errors that are decided, by time; the first row is the one above.
        self._decided = np.zeros((_RING, height + 1, channels), np.float32)
        self._decided[-_LAG % _RING, 0] = rows.above[0]
        for time in range(self._width + _LAG * (height - 1)):
            self._step(time)

    def _step(self, time: int) -> None:
        """Go on by a pixel in all rows that have one at this time.

        Pixel x of row y has its time at x + _LAG y.
        """
        height, width = self._costs.shape[1], self._width
        first, stop = max(0, -(-(time - width + 1) // _LAG)), min(height, time // _LAG + 1)
        if first == 0:
            upper_right = self._above[time + 1] if time + 1 < width else 0
            self._decided[(time - _LAG + 1) % _RING, 0] = upper_right
        rows = slice(first, stop)
        if first < stop:
            self._extend(time, rows)
        ended = time - _LAG * first == width - 1
        if time % _BLOCK == _BLOCK - 1 or ended:
            self._decide(time, rows)
        if ended:
            self._finish(time, first)

    def _extend(self, time: int, rows: slice) -> None:
        """All survivors of these rows by a pixel."""
        count = rows.stop - rows.start
        start = rows.start * self._width + time - _LAG * rows.start
        stride = max(1, self._width - _LAG)
        pixels = slice(start, start + (count - 1) * stride + 1, stride)
        over = [self._decided[(time - _LAG + dx) % _RING, rows] for dx in (-1, 0, 1)]
        near = exact(self._levels[pixels], self._rest[pixels])
        near += np.concatenate(over, axis=1) @ self._feedback[2:].reshape(-1, near.shape[1])
        left = self._survivors[(time - 1) % _MEMORY, 0, :, :, rows]
        values = np.tensordot(self._feedback[1], left, (0, 0))
        values += near.T[:, None]
        costs = self._costs[:, rows].copy()
        self._branch(time, rows, costs, values, self._leader[pixels])
        idle = np.flatnonzero(~self._coded[pixels])
        if len(idle):
            told = self._depths[pixels][idle], self._residues[pixels][idle]
            self._pass(time, rows.start + idle, costs[:, idle], values[:, :, idle], *told)

    def _branch(self, time: int, rows: slice, costs: Values, values: Values, lows: Pixels) -> None:
        """Through a pixel of the code.

        Args:
            time: its own.
            rows: n of them.
            costs: (S, n), of the survivors.
            values: (C, S, n), what their levels are to be near to, but for errors of the pixel.
            lows: (n, C), some low bits that bring the message out.
        """
        count = costs.shape[1]
        columns = np.arange(count)
        # The state before the pixel; then errors and levels in turn.
        past = np.empty((1, *costs.shape), np.float32)
        past[0] = np.arange(len(costs), dtype=np.float32)[:, None]
        for c, (sample, step) in enumerate(self._samples):
            size, half = STEPS[sample.depth], HALVES[sample.depth]
            value = values[0][step.sources]
            low = (step.lows[:, :, None] ^ lows[:, c]).astype(np.float32)
            level = value - low
            level *= 1 / size
            np.rint(level, out=level)
            np.maximum(level, 0, out=level)
            np.minimum(level, 256 / size - 1, out=level)
            level *= size
            level += low
            error = level - value
            np.maximum(error, -half, out=error)
            np.minimum(error, half, out=error)
            total = costs[step.sources]
            total += error * error
            carried = np.concatenate((past, values[1:]))
            if len(total) == 1:
                costs, error, level = total[0], error[0], level[0]
                carried = carried[:, step.sources[0]]
            else:
                second = total[1] < total[0]
                costs = np.minimum(total[0], total[1])
                source = np.where(second, step.sources[1, :, None], step.sources[0, :, None])
                source *= count
                source += columns
                carried = carried.reshape(len(carried), -1).take(source, axis=1)
                error = np.where(second, error[1], error[0])
                level = np.where(second, level[1], level[0])
            split = len(past)
            values = carried[split:]
            values += error * self._feedback[0, c, c + 1 :, None, None]
            past = np.concatenate((carried[:split], error[None], level[None]))
        self._keep(time, rows, costs, past[0].astype(np.intp), past[1::2], past[2::2])

    def _pass(
        self,
        time: int,
        rows: Indices,
        costs: Values,
        values: Values,
        depths: Pixels,
        residues: Pixels,
    ) -> None:
        """Likewise, where a pixel has no part of the message; depths and residues are (n, C)."""
        errors, levels = np.empty_like(values), np.empty_like(values)
        for c, value in enumerate(values):
            for before in range(c):
                value += errors[before] * self._feedback[0, before, c]
            levels[c] = nearest(value, depths[:, c], residues[:, c])
            half = HALVES[depths[:, c]]
            np.clip(levels[c] - value, -half, half, out=errors[c])
        origins = np.arange(len(costs))[:, None]
        self._keep(time, rows, costs + np.sum(errors**2, axis=0), origins, errors, levels)

    def _keep(
        self,
        time: int,
        rows: slice | Indices,
        costs: Values,
        origins: Indices,
        errors: Values,
        levels: Values,
    ) -> None:
        """The survivors after a pixel."""
        slot = time % _MEMORY
        self._costs[:, rows] = costs - costs.min(axis=0)
        self._origins[slot][:, rows] = origins
        self._survivors[slot, 0][:, :, rows] = errors
        self._survivors[slot, 1][:, :, rows] = levels

    def _decide(self, time: int, rows: slice) -> None:
        """The oldest pixels that are not yet decided."""
        costs, columns = self._costs[:, rows], np.arange(rows.start, rows.stop)
        states = np.repeat(np.arange(len(costs))[:, None], len(columns), axis=1)
        for back in range(_DELAY):
            states = self._origins[(time - back) % _MEMORY][states, columns]
        state = states[costs.argmin(axis=0), columns - rows.start]
        costs[states != state] = np.inf
        for back in range(_DELAY, _MEMORY):
            self._write(time - back, columns, state)
            state = self._origins[(time - back) % _MEMORY, state, columns]

    def _finish(self, time: int, row: int) -> None:
        """The last pixels of a row."""
        state, rows = self._costs[:, [row]].argmin(axis=0), np.array([row])
        for back in range(_MEMORY):
            self._write(time - back, rows, state)
            state = self._origins[(time - back) % _MEMORY, state, rows]
        self._decided[(time + 1) % _RING, row + 1] = 0

    def _write(self, time: int, rows: Indices, states: Indices) -> None:
        """The pixel of each row at that time, if it has one, as the survivor of a state has it."""
        x = time - _LAG * rows
        there = (x >= 0) & (x < self._width)
        x, rows, states = x[there], rows[there], states[there]
        errors, levels = self._survivors[time % _MEMORY][:, :, states, rows].transpose(0, 2, 1)
        self._levels[rows * self._width + x] = levels
        self._decided[time % _RING, rows + 1] = errors
        if len(rows) and rows[-1] == self._costs.shape[1] - 1:
            self.errors[x[-1]] = errors[-1]
