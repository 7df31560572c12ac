"""Positions of the bits of a mark."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from iicnet_cli.payload.carriers import HEADER_STRETCHES, PayloadCarriers, header_positions
from iicnet_cli.payload.payload_code import PayloadCode
from tests.random_arrays import random_pixels, random_static_region


@given(st.integers(1, 5000), st.integers(1, 600))
def test_header_positions_are_distinct_and_inside(samples: int, count: int) -> None:
    positions = header_positions(samples, count)
    assert len(np.unique(positions)) == len(positions)
    assert len(positions) == min(count, samples // HEADER_STRETCHES * HEADER_STRETCHES)
    assert not len(positions) or (positions.min() >= 0 and positions.max() < samples)


@given(st.integers(96, 5000), st.integers(1, 96))
def test_each_stretch_has_one_of_the_first_bits(samples: int, count: int) -> None:
    positions = header_positions(samples, count)
    for stretch, position in enumerate(positions):
        start, stop = (i * samples // HEADER_STRETCHES for i in (stretch, stretch + 1))
        assert start <= position < stop


@given(st.integers(96, 5000), st.integers(1, 400))
def test_a_longer_header_begins_as_a_shorter_one(samples: int, count: int) -> None:
    positions = header_positions(samples, count)
    longer = header_positions(samples, count + 50)
    assert np.array_equal(longer[: len(positions)], positions)


cases = {
    "height": st.integers(12, 50),
    "width": st.integers(12, 50),
    "channels": st.sampled_from([1, 3]),
    "code": st.sampled_from(PayloadCode),
    "share": st.floats(0, 0.9) | st.none(),
    "seed": st.integers(0, 99),
}


def some_carriers(
    height: int, width: int, channels: int, code: PayloadCode, share: float | None, seed: int
) -> tuple[PayloadCarriers, np.ndarray]:
    """Carriers of a picture, and their places found one by one."""
    shape = (height, width, channels)
    headers = header_positions(math.prod(shape), 100)
    region = None if share is None else random_static_region(height, width, seed, share)
    free = np.ones(shape, bool)
    free.reshape(-1)[headers] = False
    if region is not None:
        free[region.mask(height, width)] = False
    places = np.flatnonzero(free.all(axis=2) if code.trellis_bits else free)
    return PayloadCarriers(shape, headers, region, code), places


@settings(deadline=None)
@given(**cases, first=st.floats(0, 1), used=st.floats(0, 1))
def test_symbols_are_spread_over_the_carriers(
    height: int,
    width: int,
    channels: int,
    code: PayloadCode,
    share: float | None,
    seed: int,
    first: float,
    used: float,
) -> None:
    carriers, places = some_carriers(height, width, channels, code, share, seed)
    assert carriers.count == len(places)
    assume(len(places))
    count = int(used * len(places))
    samples = height * width * channels
    first_sample = min(int(first * samples), samples - 1)
    found = np.full(count, -1)
    for part, at in carriers.positions(count, first_sample, slice(0, samples)):
        found[part] = at
    first_place = first_sample // (channels if code.trellis_bits else 1)
    offset = np.count_nonzero(places < first_place)
    ranks = (np.arange(count) * len(places) // max(count, 1) + offset) % len(places)
    assert np.array_equal(found, places[ranks])


@settings(deadline=None)
@given(**cases)
def test_symbols_are_split_among_samples(
    height: int,
    width: int,
    channels: int,
    code: PayloadCode,
    share: float | None,
    seed: int,
) -> None:
    carriers, places = some_carriers(height, width, channels, code, share, seed)
    symbols = np.random.default_rng(seed).integers(0, 1 << carriers.symbol_bits, len(places))
    trellis = code.trellis_code
    bits = [int(code)] if trellis is None else trellis.message_bits(channels)
    assert carriers.symbol_bits == sum(bits)
    joined = np.zeros(len(places), int)
    parts = carriers.split_symbols(places, symbols.astype(np.uint8))
    for c, (n, (samples, values)) in enumerate(zip(bits, parts, strict=True)):
        assert np.array_equal(samples, places * len(bits) + c)
        joined = joined << n | values
    assert np.array_equal(joined, symbols)


@pytest.mark.parametrize("code", [PayloadCode.LSB_1, PayloadCode.LSB_2])
def test_plain_symbols_are_low_bits(code: PayloadCode) -> None:
    carriers, places = some_carriers(20, 30, 3, code, 0.3, 1)
    pixels = random_pixels(20, 30)
    symbols = carriers.read_symbols(pixels, carriers.count, 0)
    assert np.array_equal(symbols % (1 << code), pixels.reshape(-1)[places] % (1 << code))


def test_symbols_for_some_bytes() -> None:
    carriers, _ = some_carriers(20, 30, 3, PayloadCode.TRELLIS_3, None, 1)
    assert [carriers.symbols_for(size) for size in (0, 1, 3, 4)] == [0, 3, 8, 11]
