"""Quantization of trellis-coded rows with error diffusion, by the Viterbi algorithm.

Of all quantized rows that carry the given message, one is sought whose diffused errors have a small
sum of squares. For each state of the code's register one survivor is kept: the best path to that
state, with its own past errors. After a decision delay of some pixels the best survivor decides the
oldest ones, and survivors that disagree are given up.

A row needs the decided errors of the row above up to its upper right pixel. So each row runs some
pixels behind the one above, and all rows advance together, a pixel at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import TRELLIS_CODED, SampleConstraints
from iicnet_cli.quantize.lattice import (
    LATTICE_STEPS,
    MAX_ERRORS,
    NoiseShapingFilter,
    UnroundedEmbedding,
    round_to_lattice,
)
from iicnet_cli.quantize.trellis_codes import coset_representative

_DECISION_DELAY = 5
"""A pixel is decided only after this many later pixels have entered the path costs."""
_DECIDED_TOGETHER = 3
"""Pixels are decided in groups of this many, for each traceback takes time."""
_SURVIVOR_LENGTH = _DECISION_DELAY + _DECIDED_TOGETHER
"""A survivor holds this many pixels of a row that are not yet decided, at most."""
_ROW_LAG = _SURVIVOR_LENGTH + 1
"""Each row runs this many pixels behind the row above."""
_DECIDED_LENGTH = _ROW_LAG + 3
"""Decided errors of a row are held for this many pixels; the row below needs no older ones."""

Values = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class TrellisRows:
    """Rows to quantize, some of whose pixels are trellis-coded.

    Attributes:
        unrounded: (H, W, C).
        constraints: of the same shape, with the code.
        noise_shaping: how errors are diffused.
        errors_above: (W, C), the errors of the row above.
    """

    unrounded: UnroundedEmbedding
    constraints: SampleConstraints
    noise_shaping: NoiseShapingFilter
    errors_above: Values


TrellisQuantizer = Callable[[TrellisRows], tuple[Pixels, Values]]
"""A function like :func:`viterbi_quantize`."""


def viterbi_quantize(rows: TrellisRows) -> tuple[Pixels, Values]:
    """Quantize rows so that they meet their constraints with a small error.

    Returns:
        The quantized rows, (H, W, C), and the errors of the last one, (W, C).
    """
    search = _ViterbiSearch(rows)
    return search.quantized, search.last_errors


class _ViterbiSearch:
    """The search of :func:`viterbi_quantize`.

    Pixel x of row y has its turn at time x + ``_ROW_LAG`` y. S is the number of states.

    Attributes:
        quantized: (H, W, C) uint8.
        last_errors: (W, C), of the last row.
    """

    def __init__(self, rows: TrellisRows) -> None:
        code, constraints = rows.constraints.code, rows.constraints
        assert code is not None
        height, self._width, channels = rows.unrounded.pixels.shape
        coded = constraints.low_bits[..., 0] == TRELLIS_CODED
        self.quantized = np.empty_like(rows.unrounded.pixels)
        self.last_errors = np.zeros_like(rows.errors_above)
        # Pixels of all rows, one after the other.
        self._quantized = self.quantized.reshape(-1, channels)
        self._unrounded = rows.unrounded.reshape(-1, channels)
        self._constraints = constraints.reshape(-1, channels)
        self._coded = coded.reshape(-1)
        representative = coset_representative(code, constraints.residues, coded)
        self._representative = representative.reshape(-1, channels)
        self._trellis = list(zip(code.samples[-channels:], code.sections(channels), strict=True))
        self._noise_shaping = rows.noise_shaping
        self._errors_above = rows.errors_above
        # Relative costs of the survivors, (S, H).
        self._costs = np.full((code.states, height), np.inf, np.float32)
        self._costs[0] = 0
        # The survivors, by time modulo their length: for each state after a pixel the state before
        # it, and the errors [0] and quantized values [1] of the pixel on the way.
        self._sources = np.zeros((_SURVIVOR_LENGTH, code.states, height), np.intp)
        self._survivors = np.zeros((_SURVIVOR_LENGTH, 2, channels, code.states, height), np.float32)
        # Decided errors, by time modulo their length; the first row is the one above.
        self._decided = np.zeros((_DECIDED_LENGTH, height + 1, channels), np.float32)
        self._decided[-_ROW_LAG % _DECIDED_LENGTH, 0] = rows.errors_above[0]
        for time in range(self._width + _ROW_LAG * (height - 1)):
            self._advance(time)

    def _advance(self, time: int) -> None:
        """Process one pixel of each row that has one at this time."""
        height, width = self._costs.shape[1], self._width
        first = max(0, -(-(time - width + 1) // _ROW_LAG))
        stop = min(height, time // _ROW_LAG + 1)
        if first == 0:
            upper_right = self._errors_above[time + 1] if time + 1 < width else 0
            self._decided[(time - _ROW_LAG + 1) % _DECIDED_LENGTH, 0] = upper_right
        rows = slice(first, stop)
        if first < stop:
            self._extend_survivors(time, rows)
        ended = time - _ROW_LAG * first == width - 1
        if time % _DECIDED_TOGETHER == _DECIDED_TOGETHER - 1 or ended:
            self._decide_oldest(time, rows)
        if ended:
            self._finish_row(time, first)

    def _extend_survivors(self, time: int, rows: slice) -> None:
        """Extend all survivors of these rows by a pixel."""
        count = rows.stop - rows.start
        start = rows.start * self._width + time - _ROW_LAG * rows.start
        stride = max(1, self._width - _ROW_LAG)
        pixels = slice(start, start + (count - 1) * stride + 1, stride)
        above = [self._decided[(time - _ROW_LAG + dx) % _DECIDED_LENGTH, rows] for dx in (-1, 0, 1)]
        shared = self._unrounded[pixels].values()
        weights_above = self._noise_shaping[2:].reshape(-1, shared.shape[1])
        shared += np.concatenate(above, axis=1) @ weights_above
        left = self._survivors[(time - 1) % _SURVIVOR_LENGTH, 0, :, :, rows]
        values = np.tensordot(self._noise_shaping[1], left, (0, 0))
        values += shared.T[:, None]
        costs = self._costs[:, rows].copy()
        self._extend_coded(time, rows, costs, values, self._representative[pixels])
        uncoded = np.flatnonzero(~self._coded[pixels])
        if len(uncoded):
            constraints = self._constraints[pixels][uncoded]
            indices = rows.start + uncoded
            self._extend_uncoded(
                time, indices, costs[:, uncoded], values[:, :, uncoded], constraints
            )

    def _extend_coded(
        self, time: int, rows: slice, costs: Values, values: Values, lows: Pixels
    ) -> None:
        """Extend survivors by a trellis-coded pixel.

        Args:
            time: of the pixel.
            rows: n of them.
            costs: (S, n), of the survivors.
            values: (C, S, n), what each survivor has to quantize, except for errors of earlier
                samples of this pixel.
            lows: (n, C), coset representatives of the pixels.
        """
        count = costs.shape[1]
        columns = np.arange(count)
        # What each path has behind it: the state before the pixel, then an error and a quantized
        # value for each sample.
        past = np.empty((1, *costs.shape), np.float32)
        past[0] = np.arange(len(costs), dtype=np.float32)[:, None]
        for c, (sample, section) in enumerate(self._trellis):
            value = values[0][section.sources]
            low = (section.lows[:, :, None] ^ lows[:, c]).astype(np.float32)
            quantized, error = _round_branches(value, low, sample.low_bits)
            total = costs[section.sources]
            total += error * error
            carried = np.concatenate((past, values[1:]))
            if len(total) == 1:
                costs, error, quantized = total[0], error[0], quantized[0]
                carried = carried[:, section.sources[0]]
            else:
                second = total[1] < total[0]
                costs = np.minimum(total[0], total[1])
                source = np.where(second, section.sources[1, :, None], section.sources[0, :, None])
                source *= count
                source += columns
                carried = carried.reshape(len(carried), -1).take(source, axis=1)
                error = np.where(second, error[1], error[0])
                quantized = np.where(second, quantized[1], quantized[0])
            split = len(past)
            values = carried[split:]
            values += error * self._noise_shaping[0, c, c + 1 :, None, None]
            past = np.concatenate((carried[:split], error[None], quantized[None]))
        self._store_survivors(time, rows, costs, past[0].astype(np.intp), past[1::2], past[2::2])

    def _extend_uncoded(
        self,
        time: int,
        rows: Indices,
        costs: Values,
        values: Values,
        constraints: SampleConstraints,
    ) -> None:
        """Extend survivors by a pixel without message bits; its constraints are (n, C)."""
        errors, quantized = np.empty_like(values), np.empty_like(values)
        for c, value in enumerate(values):
            low_bits, residues = constraints.low_bits[:, c], constraints.residues[:, c]
            for before in range(c):
                value += errors[before] * self._noise_shaping[0, before, c]
            quantized[c] = round_to_lattice(value, low_bits, residues)
            most = MAX_ERRORS[low_bits]
            np.clip(quantized[c] - value, -most, most, out=errors[c])
        sources = np.arange(len(costs))[:, None]
        costs = costs + np.sum(errors**2, axis=0)
        self._store_survivors(time, rows, costs, sources, errors, quantized)

    def _store_survivors(
        self,
        time: int,
        rows: slice | Indices,
        costs: Values,
        sources: Indices,
        errors: Values,
        quantized: Values,
    ) -> None:
        slot = time % _SURVIVOR_LENGTH
        self._costs[:, rows] = costs - costs.min(axis=0)
        self._sources[slot][:, rows] = sources
        self._survivors[slot, 0][:, :, rows] = errors
        self._survivors[slot, 1][:, :, rows] = quantized

    def _decide_oldest(self, time: int, rows: slice) -> None:
        """Trace the survivors back, and decide the oldest pixels as the best survivor has them."""
        costs, columns = self._costs[:, rows], np.arange(rows.start, rows.stop)
        states = np.repeat(np.arange(len(costs))[:, None], len(columns), axis=1)
        for back in range(_DECISION_DELAY):
            states = self._sources[(time - back) % _SURVIVOR_LENGTH][states, columns]
        state = states[costs.argmin(axis=0), columns - rows.start]
        costs[states != state] = np.inf
        for back in range(_DECISION_DELAY, _SURVIVOR_LENGTH):
            self._decide(time - back, columns, state)
            state = self._sources[(time - back) % _SURVIVOR_LENGTH, state, columns]

    def _finish_row(self, time: int, row: int) -> None:
        """Decide the last pixels of a row."""
        state, rows = self._costs[:, [row]].argmin(axis=0), np.array([row])
        for back in range(_SURVIVOR_LENGTH):
            self._decide(time - back, rows, state)
            state = self._sources[(time - back) % _SURVIVOR_LENGTH, state, rows]
        self._decided[(time + 1) % _DECIDED_LENGTH, row + 1] = 0

    def _decide(self, time: int, rows: Indices, states: Indices) -> None:
        """Decide the pixel of each row at this time, if it has one, by its survivor of a state."""
        x = time - _ROW_LAG * rows
        inside = (x >= 0) & (x < self._width)
        x, rows, states = x[inside], rows[inside], states[inside]
        survivors = self._survivors[time % _SURVIVOR_LENGTH]
        errors, quantized = survivors[:, :, states, rows].transpose(0, 2, 1)
        self._quantized[rows * self._width + x] = quantized
        self._decided[time % _DECIDED_LENGTH, rows + 1] = errors
        if len(rows) and rows[-1] == self._costs.shape[1] - 1:
            self.last_errors[x[-1]] = errors[-1]


def _round_branches(value: Values, low: Values, low_bits: int) -> tuple[Values, Values]:
    """Quantize the values of all branches at a sample to their lattices.

    This is :func:`round_to_lattice` for a single step, and faster; of two values that are equally
    near it takes the even multiple of the step.

    Returns:
        The quantized values and their errors, limited to half a step.
    """
    step, most = LATTICE_STEPS[low_bits], MAX_ERRORS[low_bits]
    quantized = value - low
    quantized *= 1 / step
    np.rint(quantized, out=quantized)
    np.maximum(quantized, 0, out=quantized)
    np.minimum(quantized, 256 / step - 1, out=quantized)
    quantized *= step
    quantized += low
    error = quantized - value
    np.maximum(error, -most, out=error)
    np.minimum(error, most, out=error)
    return quantized, error
