"""Quantization of rows with error diffusion, trellis-coded pixels by the Viterbi algorithm.

Of all quantized rows that carry the given message, one is sought whose diffused errors have a small
sum of squares. For each state of the code's register one survivor is kept: the best path to that
state, with its own past errors. At the end of a row the best survivor decides all its pixels, and
their errors go on to the row below. Pixels without message bits do not change the state, so a row
without any is plain error diffusion (Floyd and Steinberg, 1976) of one survivor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.jit import compiled
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import ALL_BITS, TRELLIS_CODED, SampleConstraints
from iicnet_cli.quantize.lattice import (
    LATTICE_STEPS,
    RESIDUAL_UNITS,
    NoiseShapingFilter,
    UnroundedEmbedding,
)
from iicnet_cli.quantize.trellis_codes import TrellisCode

Values = NDArray[np.float32]


@dataclass(frozen=True)
class TrellisRows:
    """Rows to quantize, some of whose pixels may be trellis-coded.

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


def viterbi_quantize(rows: TrellisRows) -> tuple[Pixels, Values]:
    """Quantize rows so that they meet their constraints with a small error.

    Returns:
        The quantized rows, (H, W, C), and the errors of the last one, (W, C).
    """
    unrounded, constraints = rows.unrounded, rows.constraints
    _, width, channels = unrounded.pixels.shape
    trellis = _tabulate(constraints.code, channels)
    quantized = np.empty(unrounded.pixels.shape, np.uint8)
    errors = np.array(rows.errors_above, np.float32, order="C")
    _quantize_rows(
        _Samples(
            np.ascontiguousarray(unrounded.pixels),
            np.ascontiguousarray(unrounded.residual),
            np.ascontiguousarray(constraints.low_bits),
            np.ascontiguousarray(constraints.residues),
        ),
        np.ascontiguousarray(rows.noise_shaping, np.float32),
        trellis,
        _Survivors.empty(width, channels, trellis.sources.shape[3]),
        errors,
        quantized,
    )
    return quantized, errors


class _Samples(NamedTuple):
    """Samples to quantize, all (H, W, C); the fields of the dataclasses of the same names."""

    pixels: Pixels
    residual: NDArray[np.int8]
    low_bits: Pixels
    residues: Pixels


class _Trellis(NamedTuple):
    """The trellis of a pixel, as tables by channel c.

    Attributes:
        states: (C + 1,), the number S of states before each sample, and after the last one.
        steps: (C,), the distance between two values with the same low bits.
        plain_bits: (C,), see :class:`CodedSample`.
        sources: (C, 2, J, S), for the message bit that falls out of the register and each of S
            states after the sample: the J states before it.
        lows: likewise, the low bits of the sample on each of these branches.
    """

    states: NDArray[np.int64]
    steps: Values
    plain_bits: Pixels
    sources: NDArray[np.int32]
    lows: Values


class _Survivors(NamedTuple):
    """The best paths along a row to each of S states.

    Attributes:
        costs: (S,), their sums of squared errors, after each pixel less that of the best path.
        costs_before: (S,), the same before the last sample.
        past: (C, S), after a pixel its errors; within a pixel, the errors of the samples that are
            done, and what the others are quantized from: their values and the errors around them.
        past_before: (C, S), the same before the last sample.
        sources: (W, C, S), for each state after a sample the state before it.
        values: (W, C, S), the quantized value of the sample on the way.
        errors: (W, C, S), its error.
    """

    costs: Values
    costs_before: Values
    past: Values
    past_before: Values
    sources: Pixels
    values: Pixels
    errors: Values

    @classmethod
    def empty(cls, width: int, channels: int, states: int) -> _Survivors:
        """Memory for a row."""
        shape = width, channels, states
        return cls(
            np.empty(states, np.float32),
            np.empty(states, np.float32),
            np.empty((channels, states), np.float32),
            np.empty((channels, states), np.float32),
            np.empty(shape, np.uint8),
            np.empty(shape, np.uint8),
            np.empty(shape, np.float32),
        )


def _tabulate(code: TrellisCode | None, channels: int) -> _Trellis:
    """The tables of a code; without one there is a single state, and no pixel may be coded."""
    if code is None:
        return _Trellis(
            np.ones(channels + 1, np.int64),
            np.ones(channels, np.float32),
            np.zeros(channels, np.uint8),
            np.zeros((channels, 2, 1, 1), np.int32),
            np.zeros((channels, 2, 1, 1), np.float32),
        )
    samples = code.samples[-channels:]
    sections = [code.sections(channels, bit) for bit in (0, 1)]
    states = [code.states, *(section.sources.shape[1] for section in sections[0])]
    branches = max(section.sources.shape[0] for section in sections[0])
    sources = np.full((channels, 2, branches, max(states)), -1, np.int32)
    lows = np.zeros(sources.shape, np.float32)
    for bit, of_bit in enumerate(sections):
        for c, section in enumerate(of_bit):
            j, s = section.sources.shape
            sources[c, bit, :j, :s], lows[c, bit, :j, :s] = section.sources, section.lows
    return _Trellis(
        np.array(states),
        LATTICE_STEPS[[sample.low_bits for sample in samples]],
        np.array([sample.plain_bits for sample in samples], np.uint8),
        sources,
        lows,
    )


@compiled
def _quantize_rows(
    samples: _Samples,
    shaping: Values,
    trellis: _Trellis,
    survivors: _Survivors,
    errors: Values,
    quantized: Pixels,
) -> None:
    """Quantize rows one by one.

    Args:
        samples: (H, W, C).
        shaping: (5, C, C), the noise-shaping filter.
        trellis: of the trellis-coded pixels.
        survivors: memory for them.
        errors: (W, C), in: of the row above the first; out: of the last row.
        quantized: (H, W, C), out.
    """
    height, width, channels = quantized.shape
    # What a row is quantized from: its samples, with the errors of the row above.
    values = np.empty((width, channels), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                value = np.float32(samples.residual[y, x, c]) / np.float32(RESIDUAL_UNITS)
                value += np.float32(samples.pixels[y, x, c])
                for near in range(max(0, x - 1), min(width, x + 2)):
                    for b in range(channels):
                        value += errors[near, b] * shaping[3 + near - x, b, c]
                values[x, c] = value
        _search_row(values, samples.low_bits[y], samples.residues[y], shaping, trellis, survivors)
        state = 0
        for s in range(trellis.states[0]):
            if survivors.costs[s] < survivors.costs[state]:
                state = s
        for x in range(width - 1, -1, -1):
            for c in range(channels - 1, -1, -1):
                quantized[y, x, c] = survivors.values[x, c, state]
                errors[x, c] = survivors.errors[x, c, state]
                state = survivors.sources[x, c, state]


@compiled
def _search_row(
    wanted: Values,
    low_bits: Pixels,
    residues: Pixels,
    shaping: Values,
    trellis: _Trellis,
    survivors: _Survivors,
) -> None:
    """Extend the survivors from the start of a row to its end.

    Args:
        wanted: (W, C), what the row is quantized from.
        low_bits: (W, C), see :class:`SampleConstraints`.
        residues: (W, C), likewise.
        shaping: (5, C, C), the noise-shaping filter.
        trellis: of the trellis-coded pixels.
        survivors: out.
    """
    width, channels = wanted.shape
    costs, past, left = survivors.costs, survivors.past, survivors.past_before
    count = trellis.states[0]
    for s in range(count):
        costs[s] = np.float32(0) if s == 0 else np.float32(np.inf)
        for c in range(channels):
            past[c, s] = np.float32(0)
    for x in range(width):
        for c in range(channels):
            for s in range(count):
                left[c, s] = past[c, s]
        for c in range(channels):
            for s in range(count):
                past[c, s] = wanted[x, c]
            for b in range(channels):
                for s in range(count):
                    past[c, s] += left[b, s] * shaping[1, b, c]
        for c in range(channels):
            if low_bits[x, 0] == TRELLIS_CODED:
                _extend_by_coded(survivors, x, c, residues[x, c], trellis)
                count = trellis.states[c + 1]
            else:
                _extend_by_uncoded(survivors, x, c, low_bits[x, c], residues[x, c], count)
            _diffuse_within_pixel(survivors, x, c, count, shaping)
        least = costs[0]
        for s in range(1, count):
            least = min(least, costs[s])
        for s in range(count):
            costs[s] -= least


@compiled
def _extend_by_coded(
    survivors: _Survivors, x: int, c: int, residue: int, trellis: _Trellis
) -> None:
    """Extend the survivors by a sample of a trellis-coded pixel."""
    before, after = trellis.states[c], trellis.states[c + 1]
    costs, costs_before = survivors.costs, survivors.costs_before
    for s in range(before):
        costs_before[s] = costs[s]
    for s in range(after):
        # States that no path reaches yet need finite values, too, for they are quantized on.
        costs[s] = np.float32(np.inf)
        survivors.sources[x, c, s] = 0
        survivors.values[x, c, s] = 0
        survivors.errors[x, c, s] = np.float32(0)
    step, bit, plain = trellis.steps[c], residue & 1, np.float32(residue >> 1)
    most = np.float32(0.5) * step
    for j in range(trellis.sources.shape[2]):
        if trellis.sources[c, bit, j, 0] < 0:
            break
        for s in range(after):
            source = trellis.sources[c, bit, j, s]
            wanted = survivors.past[c, source]
            value = _round_to_lattice(wanted, trellis.lows[c, bit, j, s] + plain, step)
            error = min(max(value - wanted, -most), most)
            cost = costs_before[source] + error * error
            if cost < costs[s]:
                costs[s] = cost
                survivors.sources[x, c, s] = source
                survivors.values[x, c, s] = np.uint8(value)
                survivors.errors[x, c, s] = error


@compiled
def _extend_by_uncoded(
    survivors: _Survivors, x: int, c: int, low_bits: int, residue: int, count: int
) -> None:
    """Extend ``count`` survivors by a sample with some given low bits; their states stay."""
    step = np.float32(1 << low_bits)
    # A sample with all bits given is not rounded, so it has no error.
    most = np.float32(0) if low_bits == ALL_BITS else np.float32(0.5) * step
    for s in range(count):
        wanted = survivors.past[c, s]
        value = _round_to_lattice(wanted, np.float32(residue), step)
        error = min(max(value - wanted, -most), most)
        survivors.costs[s] += error * error
        survivors.sources[x, c, s] = s
        survivors.values[x, c, s] = np.uint8(value)
        survivors.errors[x, c, s] = error


@compiled
def _round_to_lattice(value: np.float32, low: np.float32, step: np.float32) -> np.float32:
    """Like :func:`lattice.round_to_lattice`, for one value."""
    inverse = np.float32(1) / step
    multiple = np.floor((value - low) * inverse + np.float32(0.5))
    most = np.float32(256) * inverse - np.float32(1)
    return np.float32(min(max(multiple, np.float32(0)), most) * step + low)


@compiled
def _diffuse_within_pixel(
    survivors: _Survivors, x: int, c: int, count: int, shaping: Values
) -> None:
    """Let the past of the survivors follow their paths, and diffuse the errors of sample c.

    They are added to what the later samples of the pixel are quantized from.
    """
    past, past_before = survivors.past, survivors.past_before
    channels = len(past)
    for k in range(channels):
        for s in range(past.shape[1]):
            past_before[k, s] = past[k, s]
    for k in range(channels):
        weight = shaping[0, c, k] if k > c else np.float32(0)
        for s in range(count):
            error = survivors.errors[x, c, s]
            carried = past_before[k, survivors.sources[x, c, s]]
            past[k, s] = error if k == c else carried + weight * error
