"""How much a cover carries: random bits are sent through the simulated channels."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from iicnet_cli.engines.jpegproof.cell_layout import CellLayout
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.control_cells import mark_cells
from iicnet_cli.engines.jpegproof.dct_blocks import Floats
from iicnet_cli.engines.jpegproof.lattice_decoder import stage_likelihoods
from iicnet_cli.engines.jpegproof.lattice_encoder import Labels, LatticeCover, set_control_bits
from iicnet_cli.engines.jpegproof.payload_codes import CHECK_BYTES, stage_cells
from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.reception import ReceivedBlocks, Reception
from iicnet_cli.engines.jpegproof.robust_mark import (
    MARK_LENGTH,
    MOST_BYTES,
    RATE_UNITS,
    RobustMark,
)
from iicnet_cli.engines.jpegproof.simulated_channels import SimulatedChannel
from iicnet_cli.engines.jpegproof.staged_code import StageCells
from iicnet_cli.engines.jpegproof.synchronisation import read_mark
from iicnet_cli.jit import available_threads
from iicnet_cli.pictures.arrays import Pixels

_CODE_EFFICIENCY = 0.935
"""Share of the information that arrives that the error correction can use at high rates."""
_LOW_RATE, _LOW_RATE_LOSS = 0.75, 0.25
"""Where less information than the first number arrives, the share falls by so much for each bit."""
_MARGIN_BITS = 200
"""Coded bits of a stage that stay unused beside that: short codes are less efficient."""
_HIGHEST_RATE = 0.985
"""Of the error correction."""
_LEAST_MARK_CELLS = 150
"""Different bits of the coded mark that a picture must have room for: about 224 x 224 pixels."""
PARTIAL_PAYLOAD = 0.8
"""Share of the capacity that contents take whose size can be chosen. So much is restored from
``_PART`` of the picture: three quarters of it, cropped, lose some blocks at their border, and those
around a sticker are disturbed. More would be lost in any crop, less gains little."""
_PART = 0.7
"""A payload of ``PARTIAL_PAYLOAD`` of the capacity is restored from this share of the blocks of a
picture that is otherwise unchanged."""
_MOST_THREADS = 4
"""Channels that are simulated at once, which bounds the memory."""


@dataclasses.dataclass(frozen=True)
class CarryingPlan:
    """What a cover carries.

    Attributes:
        stages: the cells of each stage.
        rates: the highest rate of each stage's error correction.
        part_rate: the highest rate that a part of the picture restores.
        group_bits: of the shaping code.
    """

    stages: list[StageCells]
    rates: tuple[float, ...]
    part_rate: float
    group_bits: int

    @property
    def capacity(self) -> int:
        """Bytes, at least 0."""
        whole = self._message_bits(self.rates)
        part = self._message_bits([min(self.rates[0], self.part_rate)] * len(self.stages))
        bits = int(min(whole, part / PARTIAL_PAYLOAD))
        return min(max(0, bits // 8 - CHECK_BYTES), MOST_BYTES)

    def upper_rates(self, payload_bytes: int) -> tuple[int, int]:
        """Message bits of the second and third bits for a payload, in ``RATE_UNITS``.

        A payload that is smaller than the capacity gets equally strong codes in all stages, so that
        it survives that parts of the picture are lost.
        """
        needed = 8 * (payload_bytes + CHECK_BYTES)
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            enough = self._message_bits([min(rate, middle) for rate in self.rates]) >= needed
            low, high = (low, middle) if enough else (middle, high)
        upper = [
            self._units(cells, min(rate, high))
            for cells, rate in zip(self.stages[1:], self.rates[1:], strict=True)
        ]
        first, second, *_ = (*upper, 0, 0)
        return first, second

    def _message_bits(self, rates: list[float] | tuple[float, ...]) -> int:
        lowest = self._stage_bits(self.stages[0], rates[0])
        return lowest + sum(
            self._units(cells, rate) * len(cells.indices) // RATE_UNITS
            for cells, rate in zip(self.stages[1:], rates[1:], strict=True)
        )

    def _stage_bits(self, cells: StageCells, rate: float) -> int:
        """Message bits of a stage whose error correction has a rate."""
        coded = max(0, int(len(cells.indices) * rate) - _MARGIN_BITS)
        return coded - min(coded, cells.shaped) // self.group_bits

    def _units(self, cells: StageCells, rate: float) -> int:
        return self._stage_bits(cells, rate) * RATE_UNITS // max(1, len(cells.indices))


def measure(
    cover: LatticeCover, channels: tuple[SimulatedChannel, ...]
) -> tuple[CarryingPlan, CarryingPlan]:
    """Send random bits through all channels; the rates are those that all of them allow.

    Returns:
        What the cover carries without and with a small version beside it.
    """
    rows, columns, _ = cover.scaled.shape
    layouts = [
        CellLayout(cover.lattice, rows, columns, has_small_version=has_one)
        for has_one in (False, True)
    ]
    stages = [stage_cells(layout) for layout in layouts]
    if len(np.unique(mark_cells(rows, columns, MARK_LENGTH)[1])) < _LEAST_MARK_CELLS:
        information = [[[0.0] * len(cells) for cells in stages]]
    else:
        information = _send(cover, channels, layouts[0], stages)
    without, beside = (
        CarryingPlan(
            cells,
            tuple(_rate(min(arriving)) for arriving in zip(*seen, strict=True)),
            _rate(min(seen[0]) * _PART),
            cover.lattice.group_bits,
        )
        for cells, seen in zip(stages, zip(*information, strict=True), strict=True)
    )
    return without, beside


def _send(
    cover: LatticeCover,
    channels: tuple[SimulatedChannel, ...],
    layout: CellLayout,
    stages: list[list[StageCells]],
) -> list[list[list[float]]]:
    """What arrives after no change, and after each channel, of each list of stages."""
    labels = np.zeros(cover.scaled.shape, np.int32)
    for bit in range(len(stages[0])):
        drawn = random_bits(labels.size, 50 + bit).reshape(labels.shape)
        labels |= drawn.astype(np.int32) << bit
    labels &= (1 << cover.lattice.bits.astype(np.int32)) - 1
    set_control_bits(labels, layout, _probe(layout))
    embedding = cover.rendered(labels)

    def send(channel: SimulatedChannel) -> list[list[float]]:
        return _stage_information(channel.apply(embedding), cover.lattice, labels, stages)

    with ThreadPoolExecutor(min(available_threads(), _MOST_THREADS)) as pool:
        return list(pool.map(send, (SimulatedChannel("unchanged", ()), *channels)))


def _stage_information(
    received: Pixels, lattice: CoefficientLattice, labels: Labels, stages: list[list[StageCells]]
) -> list[list[float]]:
    """What arrives of the stages of each list; nothing does without the mark."""
    reception = Reception.of(ReceivedBlocks.of(received), lattice)
    if read_mark(reception, lattice, 0, 0, 0) is None:
        return [[0.0] * len(each) for each in stages]
    found: list[list[float]] = [[] for _ in stages]
    for stage in range(len(stages[0])):
        lower = labels & (1 << stage) - 1
        likelihoods = stage_likelihoods(reception, lattice, lower, stage).reshape(-1)
        for cells, of_list in zip(stages, found, strict=True):
            of_list.append(_information(likelihoods, labels, stage, cells[stage]))
    return found


def _probe(layout: CellLayout) -> RobustMark:
    """A mark that tells whether marks arrive."""
    return RobustMark(0, layout.rows, layout.columns, MOST_BYTES, (0, 0), 2)


def _rate(information: float) -> float:
    """The rate of the error correction for the information that arrives for each bit."""
    efficiency = _CODE_EFFICIENCY - _LOW_RATE_LOSS * max(0, _LOW_RATE - information)
    return float(min(information * efficiency, _HIGHEST_RATE))


def _information(likelihoods: Floats, labels: Labels, stage: int, cells: StageCells) -> float:
    """Bits of information that arrive for each bit sent, 0 to 1: the generalized mutual
    information (Kaplan and Shamai, 1993)."""
    sent = 1 - 2.0 * (labels.reshape(-1)[cells.indices] >> stage & 1)
    surprise = np.logaddexp(0, -sent * likelihoods[cells.indices]) / np.log(2)
    return float(max(0, 1 - surprise.mean()))
