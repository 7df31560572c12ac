"""A second reader of bytes in the DCT lattice, written from docs/format.md, section 15.

It reads pictures that were not altered, so it decides each bit by itself, and checks the error
correction instead of using it.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof import jpeg_channel
from iicnet_cli.engines.jpegproof.profiles import jpeg_profile
from tests.samples import Pixels, natural

Bits = NDArray[np.int64]


MASK = (1 << 64) - 1
LATTICES = ((60, 19.04, 8, 2), (70, 19, 7, 2), (75, 18, 5, 1), (85, 15, 3, 2))
"""The last number is the horizontal frequency of the strong position; the vertical one is 0."""
TABLE = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112
100 103 99
"""
"""ITU-T T.81, table K.1."""


def mixed(x: int, seed: int) -> int:
    z = (x + (seed << 32)) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def parity(value: int) -> int:
    return value.bit_count() & 1


def coefficients(pixels: Pixels) -> NDArray[np.float64]:
    """(rows, columns, 8, 8)."""
    luma = pixels @ np.array([0.299, 0.587, 0.114]) - 128
    v, y = np.mgrid[:8, :8]
    basis = np.cos((2 * y + 1) * v * np.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    blocks = luma[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2)
    found: NDArray[np.float64] = basis @ blocks @ basis.T
    return found


@dataclass
class Lattice:
    number: int

    def __post_init__(self) -> None:
        quality, limit, least, strong = LATTICES[self.number]
        steps = [max(1, (int(s) * (200 - 2 * quality) + 50) // 100) for s in TABLE.split()]
        spacings = [max(step, least) for step in steps]
        order = sorted(range(64), key=lambda i: -spacings[i])
        self.positions = [i for i in order if spacings[i] <= limit]
        self.spacings = [spacings[i] for i in self.positions]
        ratios = [limit / s for s in self.spacings]
        self.bits = [1 + (r >= math.sqrt(3)) + (r >= math.sqrt(12)) for r in ratios]
        self.strong = self.positions.index(strong)

    def indices(self, found: NDArray[np.float64]) -> Bits:
        """(rows, columns, positions)."""
        flat = found.reshape(*found.shape[:2], 64)[..., self.positions]
        return np.rint(flat / self.spacings).astype(np.int64)


@dataclass
class Mark:
    small: bool
    lattice: int
    rows: int
    columns: int
    length: int
    rates: tuple[int, int]
    group: int


def read_mark(indices: Bits, lattice: Lattice) -> Mark:
    bit = lattice.bits[lattice.strong] - 1
    coded = [0] * 312
    for y in range(indices.shape[0]):
        for x in range(indices.shape[1]):
            index = int(indices[y, x, lattice.strong])
            if y % 4 != x % 4:
                continue
            assert index & (1 << bit) - 1 == 0
            if y % 4 == 0:
                assert index >> bit & 1 == mixed(y % 512 * 512 + x % 512, 5) >> 63
            else:
                number = (3 * (x // 4 + 13 * (y // 4)) + y % 4 - 1) % 312
                coded[number] = index >> bit & 1
    register, value = 0, 0
    for step in range(96):
        wanted = coded[3 * step : 3 * step + 3]
        for bit in (0, 1):
            new = (register << 1 | bit) & 511
            if [parity(new & g) for g in (0o557, 0o663, 0o711)] == wanted:
                register, value = new, value << 1 | bit
                break
        else:
            raise AssertionError("no such code")
    data = value.to_bytes(12, "big")
    assert zlib.crc32(b"iicnet" + data[:9]) & 0xFFFFFF == int.from_bytes(data[9:], "big")
    fields = []
    value >>= 24
    for bits in (4, 6, 6, 24, 12, 12, 4, 4):
        fields.append(value & (1 << bits) - 1)
        value >>= bits
    group, rate_2, rate_1, length, columns, rows, kind, version = fields
    assert version == 2
    small, number = divmod(kind, 8)
    return Mark(bool(small), number, rows, columns, length, (rate_1, rate_2), group)


@dataclass
class Codeword:
    """The cells of a codeword as indices of bits, how many are shaped, and its message bits."""

    cells: list[int]
    shaped: int
    message_bits: int
    group: int

    @cached_property
    def groups(self) -> int:
        return min(self.message_bits // (self.group - 1), self.shaped // self.group)

    def message(self, bits: list[int]) -> list[int]:
        """The message in the bits of the cells, of which the checks hold."""
        coded = self.message_bits + self.groups
        check(bits, coded)
        found, register = [], 0
        taps = [0] + [mixed(j, 77) % 512 | 257 for j in range(1, self.group)]
        for first in range(0, self.groups * self.group, self.group):
            register = (register << 1 | bits[first]) & 511
            found += [bits[first + j] ^ parity(register & taps[j]) for j in range(1, self.group)]
        return found + bits[self.groups * self.group : coded]


def check(bits: list[int], m: int) -> None:
    """That a codeword of m bits is one of the code."""
    n = len(bits)
    length = n if m >= 0.3 * n else max(m + 1, int(m / 0.45))
    assert bits == (bits[:length] * (n // length + 1))[:n]
    p = length - m
    heavy_count = int((0.2 if m > 0.7 * length else 0.3) * m) if p > 1000 else 0
    heavy = {i * m // heavy_count for i in range(heavy_count)}
    light = [i for i in range(m) if i not in heavy]
    degree = min(3, p)
    owners = [(i, degree) for i in light] + [(i, 9) for i in sorted(heavy)]
    slots = [i % p for i in range(sum(edges for _, edges in owners))]
    state = 1000003 * m + p
    table: set[int] = set()

    def where(u: int, v: int) -> int:
        mixed_ = (min(u, v) * 0x9E3779B1 + max(u, v)) * 0x9E3779B97F4A7C15 & MASK
        return (mixed_ >> 20) % 2**26

    start, sums = 0, [0] * p
    for number, (bit, edges) in enumerate(owners):
        own = range(start, start + edges)
        matters = number < len(light) and p > 1000
        pairs = [(i, k) for i in own for k in range(start, i)]
        for _ in range(60):
            for i in own:
                state ^= state << 13 & MASK
                state ^= state >> 7
                state ^= state << 17 & MASK
                j = i + state % (len(slots) - i)
                slots[i], slots[j] = slots[j], slots[i]
            taken = any(slots[i] == slots[k] for i, k in pairs) or (
                matters
                and any(
                    where(slots[i] // 2 + y + 1, slots[k] // 2 + x + 1) in table
                    for i, k in pairs
                    for y in (-1, 0, 1)
                    for x in (-1, 0, 1)
                )
            )
            if not taken:
                break
        if matters:
            table |= {where(slots[i] // 2 + 1, slots[k] // 2 + 1) for i, k in pairs}
        for i in own:
            sums[slots[i]] ^= bits[bit]
        start += edges
    total = 0
    for j in range(p):
        total ^= sums[j]
        assert bits[m + j] == total


def codewords(lattice: Lattice, mark: Mark) -> list[tuple[int, Codeword]]:
    """All codewords of the payload and their stages."""
    stages = max(lattice.bits)

    def is_left_out(y: int, x: int, i: int) -> bool:
        return i == lattice.strong and (mark.small or y % 4 == x % 4)

    cells_of = []
    for n in range(stages):
        cells = [
            (y * mark.columns + x) * len(lattice.bits) + i
            for y in range(mark.rows)
            for x in range(mark.columns)
            for i, bits in enumerate(lattice.bits)
            if bits > n and not is_left_out(y, x, i)
        ]
        order = sorted(range(len(cells)), key=lambda number: mixed(number, 11 + n))
        last = [cells[k] for k in order if lattice.bits[cells[k] % len(lattice.bits)] == n + 1]
        rest = [cells[k] for k in order if lattice.bits[cells[k] % len(lattice.bits)] != n + 1]
        cells_of.append((last + rest, len(last)))
    sizes = [
        max(8, len(cells) * rate // 64)
        for (cells, _), rate in zip(cells_of[1:], mark.rates, strict=False)
    ]
    counts = [max(1, math.ceil(len(cells) / 200_000)) for cells, _ in cells_of]
    sizes.insert(0, max(8 * (mark.length + 4) - sum(sizes), 8 * counts[0]))
    found = []
    for n, ((cells, shaped), b, k) in enumerate(zip(cells_of, sizes, counts, strict=True)):
        for i in range(k):
            bits = b * (i + 1) // k - b * i // k
            part = len(range(i, shaped, k))
            found.append((n, Codeword(cells[i::k], part, bits, mark.group)))
    return found


def small_codewords(lattice: Lattice, mark: Mark) -> list[tuple[int, Codeword]]:
    """Those of the small version, and its bit."""
    cells = [
        (y * mark.columns + x) * len(lattice.bits) + lattice.strong
        for y in range(mark.rows)
        for x in range(mark.columns)
        if y % 4 != x % 4
    ]
    cells = [cells[k] for k in sorted(range(len(cells)), key=lambda number: mixed(number, 31))]
    k, b, bit = (
        math.ceil(len(cells) / 200_000),
        2 * len(cells) // 5,
        lattice.bits[lattice.strong] - 1,
    )
    return [(bit, Codeword(cells[i::k], 0, b * (i + 1) // k - b * i // k, 2)) for i in range(k)]


def decoded(indices: Bits, found: list[tuple[int, Codeword]], seed: int) -> bytes:
    """The message of codewords, each in one bit."""
    flat = indices.reshape(-1)
    message: list[int] = []
    for stage, codeword in found:
        message += codeword.message([int(flat[cell]) >> stage & 1 for cell in codeword.cells])
    plain = [bit ^ mixed(i, seed) >> 63 for i, bit in enumerate(message)]
    return np.packbits(np.array(plain, np.uint8)).tobytes()


def second_reader(pixels: Pixels, number: int) -> tuple[bytes, bytes | None]:
    """The payload, and the small version if there is one."""
    lattice = Lattice(number)
    indices = lattice.indices(coefficients(pixels))
    mark = read_mark(indices, lattice)
    assert (mark.lattice, mark.rows, mark.columns) == (number, *indices.shape[:2])
    data = decoded(indices, codewords(lattice, mark), 1)[: mark.length + 4]
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big")
    if not mark.small:
        return data[:-4], None
    framed = decoded(indices, small_codewords(lattice, mark), 2)
    end = 2 + int.from_bytes(framed[:2], "big")
    assert zlib.crc32(framed[:end]) == int.from_bytes(framed[end : end + 4], "big")
    return data[:-4], framed[2:end]


@pytest.mark.parametrize(
    ("number", "share"),
    [(1, 0.2), *(pytest.param(number, 1.0, marks=pytest.mark.slow) for number in (0, 2, 3))],
)
def test_a_second_reader_agrees(number: int, share: float) -> None:
    # Nothing is clipped, so that every block holds what it should.
    cover = (natural(424, 416, 5) // 2 + 64).astype(np.uint8)
    prepared = jpeg_channel.PreparedCover.of(cover, jpeg_profile(LATTICES[number][0]))
    data = np.random.default_rng(number).bytes(int(prepared.capacity_beside * share))
    small = data[: prepared.small_version_capacity]
    assert second_reader(prepared.write(data, small), number) == (data, small)
    assert second_reader(prepared.write(data[:300]), number) == (data[:300], None)
