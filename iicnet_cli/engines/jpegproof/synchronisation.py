"""Finding lattice, grid and place in a received picture, whatever was cut off it.

1. The 64 offsets of the 8 x 8 grid: at the right one the coefficients lie near the lattice.
2. The offset in blocks: a correlation with the pilots, by the fast Fourier transform.
3. The mark confirms both with its check sum.

An uncropped picture needs only the third step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from iicnet_cli.engines.jpegproof.cell_layout import VERSIONS, control_bit
from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.control_cells import PERIOD, mark_cells, pilots
from iicnet_cli.engines.jpegproof.dct_blocks import BASIS, BLOCK, Floats, luma_of
from iicnet_cli.engines.jpegproof.reception import ReceivedBlocks, Reception
from iicnet_cli.engines.jpegproof.robust_mark import MARK_LENGTH, RobustMark
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.limits import MAX_LOSSY_SIDE

_CANDIDATES = 4
"""Pairs of lattice and grid that are looked at, the most likely ones."""
_LEAST_SCORE = 4.0
"""Standard deviations by which a grid must stand out to be looked at."""
PART_BLOCKS = 96
"""Pictures of more blocks than this on a side are searched in parts of so many."""
_LARGEST_LOSS = 16
"""A picture of more than this many times the blocks that were received cannot be restored."""


@dataclasses.dataclass(frozen=True)
class Located:
    """A picture whose mark was read.

    Attributes:
        mark: of the picture.
        reception: of the whole picture.
        coefficients: of the received part, (rows, columns, 8, 8).
    """

    mark: RobustMark
    reception: Reception
    coefficients: Floats


def locate(pixels: Pixels, lattices: Sequence[CoefficientLattice]) -> Located | None:
    """Find which lattice a picture has and where, or ``None``.

    Args:
        pixels: (H, W, 3).
        lattices: those that are known; their index is their number in the mark.
    """
    if min(pixels.shape[:2]) < BLOCK or max(pixels.shape[:2]) > MAX_LOSSY_SIDE:
        return None
    uncropped = locate_uncropped(pixels, lattices)
    if uncropped is not None:
        return uncropped
    for number, (y, x) in _likely_grids(luma_of(busiest_part(pixels)), lattices):
        blocks = ReceivedBlocks.of(pixels[y:, x:])
        for inner, top, left in _likely_places(blocks, lattices[number]):
            found = _read_blocks(inner, lattices[number], number, top, left)
            if found is not None:
                return found
    return None


def locate_uncropped(pixels: Pixels, lattices: Sequence[CoefficientLattice]) -> Located | None:
    """The same, if nothing was cut off at the top or at the left, which is found out fast."""
    blocks = ReceivedBlocks.of(pixels)
    for number, lattice in enumerate(lattices):
        found = _read_blocks(blocks, lattice, number, 0, 0)
        if found is not None:
            return found
    return None


def busiest_part(pixels: Pixels) -> Pixels:
    """The part of a large picture with most contrast, on the same grid; a small one as it is."""
    side = PART_BLOCKS * BLOCK
    parts = [
        pixels[BLOCK * y :][:side, BLOCK * x :][:, :side] for y, x in _part_starts(pixels.shape)
    ]
    return max(parts, key=lambda part: float(part[::BLOCK, ::BLOCK].std()))


def _part_starts(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Rows and columns, in blocks, at which three parts of a large picture begin."""
    spare_rows, spare_columns = (max(0, side // BLOCK - PART_BLOCKS) for side in shape[:2])
    if not spare_rows and not spare_columns:
        return [(0, 0)]
    return [(spare_rows * n // 4, spare_columns * n // 4) for n in (2, 1, 3)]


def _read_blocks(
    blocks: ReceivedBlocks, lattice: CoefficientLattice, number: int, top: int, left: int
) -> Located | None:
    """The picture of blocks whose first one is at (top, left) in it, if a mark confirms that.

    The mark of a large picture is looked for in parts of it, which is many times as fast.
    """
    rows, columns = blocks.classes.shape
    for y, x in _part_starts((BLOCK * rows, BLOCK * columns)):
        part = blocks[y : y + PART_BLOCKS, x : x + PART_BLOCKS]
        reception = Reception.of(part, lattice)
        mark = read_mark(reception, lattice, number, top + y, left + x)
        if mark is None:
            continue
        is_here = mark.rows > top and mark.columns > left
        if not is_here or mark.rows * mark.columns > _LARGEST_LOSS * rows * columns:
            return None
        if (mark.rows, mark.columns) == (rows, columns) == part.classes.shape:
            return Located(mark, reception, blocks.coefficients)
        return _placed(blocks, lattice, mark, top, left)
    return None


def _likely_places(
    blocks: ReceivedBlocks, lattice: CoefficientLattice
) -> Iterator[tuple[ReceivedBlocks, int, int]]:
    """Blocks of a picture, and where the first one of them may be in it."""
    scaled = lattice.scaled(blocks.coefficients)
    places = {_find_place(scaled, control_bit(lattice, version)): None for version in VERSIONS}
    for top, left in places:
        yield from _readings(blocks, top, left)


def _readings(
    blocks: ReceivedBlocks, top: int, left: int
) -> Iterator[tuple[ReceivedBlocks, int, int]]:
    """What a place modulo ``PERIOD`` may mean, as blocks and the place of the first one.

    Either the picture was cropped, or it was put into a larger one whose margin is to be cut off.
    """
    rows, columns = blocks.classes.shape
    yield blocks, top, left
    outer_rows = PERIOD - top if top + rows > PERIOD else 0
    outer_columns = PERIOD - left if left + columns > PERIOD else 0
    if outer_rows or outer_columns:
        inner = np.s_[outer_rows:, outer_columns:]
        yield (
            blocks[inner],
            0 if outer_rows else top,
            0 if outer_columns else left,
        )


def _placed(
    blocks: ReceivedBlocks, lattice: CoefficientLattice, mark: RobustMark, top: int, left: int
) -> Located:
    """Blocks whose place in their picture is known."""
    rows, columns = mark.rows - top, mark.columns - left
    inside = blocks[:rows, :columns]
    reception = Reception.of(inside, lattice)
    placed = reception.placed(top, left, mark.rows, mark.columns)
    return Located(mark, placed, inside.coefficients)


def _likely_grids(
    luma: Floats, lattices: Sequence[CoefficientLattice]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Pairs of lattice and offset (y, x) of the grid, the most likely ones first."""
    found = []
    responses: dict[tuple[int, int], Floats] = {}
    for number, lattice in enumerate(lattices):
        scores = np.zeros((BLOCK, BLOCK))
        for index in range(min(3, len(lattice.spacings))):
            place = (int(lattice.positions[0][index]), int(lattice.positions[1][index]))
            if place not in responses:
                responses[place] = _filtered(luma, *place)
            phase = np.cos(responses[place] * (2 * np.pi / lattice.spacings[index]))
            for y in range(BLOCK):
                for x in range(BLOCK):
                    seen = phase[y::BLOCK, x::BLOCK]
                    scores[y, x] += seen.mean() * np.sqrt(2 * seen.size)
        scores = (scores - np.median(scores)) / np.sqrt(3)
        for flat in np.argsort(-scores, axis=None)[:_CANDIDATES]:
            y, x = divmod(int(flat), BLOCK)
            found.append((float(scores[y, x]), number, (y, x)))
    for score, number, offset in sorted(found, reverse=True)[:_CANDIDATES]:
        if score > _LEAST_SCORE:
            yield number, offset


def _filtered(luma: Floats, vertical: int, horizontal: int) -> Floats:
    """One DCT coefficient of the block at every pixel, (H - 7, W - 7)."""
    height, width = luma.shape
    rows = sum(BASIS[vertical, k] * luma[k : height - BLOCK + 1 + k] for k in range(BLOCK))
    assert not isinstance(rows, int)
    both = sum(BASIS[horizontal, k] * rows[:, k : width - BLOCK + 1 + k] for k in range(BLOCK))
    return np.asarray(both, np.float32)


def _find_place(scaled: Floats, control: tuple[int, int]) -> tuple[int, int]:
    """Where in its picture a part lies, in blocks from the top left corner."""
    position, bit = control
    soft = np.cos(scaled[..., position] * (np.pi / (1 << bit)))
    rows, columns = soft.shape
    seen = np.zeros((PERIOD, PERIOD))
    y, x = np.mgrid[:rows, :columns]
    np.add.at(seen, (y % PERIOD, x % PERIOD), soft)
    expected = np.zeros((PERIOD, PERIOD))
    places, bits = pilots(PERIOD, PERIOD)
    expected[places] = 1 - 2.0 * bits
    correlation = np.fft.irfft2(np.fft.rfft2(expected) * np.fft.rfft2(seen).conj())
    top, left = divmod(int(np.argmax(correlation)), PERIOD)
    return top, left


def read_mark(
    reception: Reception, lattice: CoefficientLattice, number: int, top: int, left: int
) -> RobustMark | None:
    """The mark, if there is a valid one.

    Args:
        reception: a part of the picture.
        lattice: that it is on.
        number: of the lattice.
        top: rows of blocks above the part.
        left: columns of blocks to its left.
    """
    rows, columns = reception.lost.shape
    places, numbers = mark_cells(top + rows, left + columns, MARK_LENGTH)
    inside = (places[0] >= top) & (places[1] >= left)
    blocks = places[0][inside] - top, places[1][inside] - left
    for version in VERSIONS:
        control = control_bit(lattice, version)
        for trusts_loss in (True, False):
            ratios = reception.strong_likelihoods(control, blocks, trusts_loss=trusts_loss)
            sums = np.bincount(numbers[inside], ratios, minlength=MARK_LENGTH)
            mark = RobustMark.decode(sums.astype(np.float32))
            if mark is None or (mark.version, mark.lattice) != (version, number):
                continue
            return mark
    return None
