"""Marks in pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from iicnet_cli.payload.carriers import HEADER_STRETCHES
from iicnet_cli.payload.mark import TASKS, Mark, model_id
from iicnet_cli.payload.mark_pixels import (
    constrain_samples,
    payload_capacity,
    read_mark,
    write_mark,
)
from iicnet_cli.payload.payload_code import PayloadCode
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import TRELLIS_CODED
from iicnet_cli.quantize.error_diffusion import round_embedding
from tests.png_files import WEIGHTS
from tests.random_arrays import (
    random_filter,
    random_pixels,
    random_static_region,
    random_unrounded,
    smooth_pixels,
)
from tests.test_mark import marks

MARK = Mark(task=TASKS.index("stego"), model=model_id(WEIGHTS), images=3, valid=3)
sides = st.integers(16, 70)
larger_sides = st.integers(30, 60)


def needed_samples(mark: Mark) -> int:
    """A whole number of bits to each stretch of a picture."""
    return -(-8 * len(mark.to_bytes()) // HEADER_STRETCHES) * HEADER_STRETCHES


@settings(deadline=None)
@given(marks, sides, sides, st.booleans(), st.integers(0, 99))
def test_round_trip(mark: Mark, height: int, width: int, grey: bool, seed: int) -> None:
    pixels = random_pixels(height, width, grey, seed)
    assume(pixels.size >= needed_samples(mark))
    before = pixels.copy()
    marked = write_mark(pixels, mark)
    assert np.array_equal(pixels, before)
    assert marked.shape == pixels.shape and marked.dtype == np.uint8
    assert read_mark(marked) == mark
    change = np.abs(marked.astype(int) - pixels)
    assert change.max() <= 1
    assert np.count_nonzero(change) <= 8 * len(mark.to_bytes())


@settings(deadline=None)
@given(
    mark=marks,
    motion=st.binary(min_size=1, max_size=600),
    height=st.integers(30, 90),
    width=st.integers(30, 90),
    grey=st.booleans(),
    seed=st.integers(0, 99),
)
def test_round_trip_with_motion(
    mark: Mark, motion: bytes, height: int, width: int, grey: bool, seed: int
) -> None:
    pixels = random_pixels(height, width, grey, seed)
    assume(len(motion) <= payload_capacity(pixels.shape))
    mark = dataclasses.replace(mark, motion=motion)
    marked = write_mark(pixels, mark)
    assert read_mark(marked) == mark
    change = np.abs(marked.astype(int) - pixels)
    assert change.max() <= 1
    carries = constrain_samples(pixels.shape, mark).reshape(*pixels.shape).low_bits > 0
    assert not change[~carries].any()
    # Of random pixels half have the right bit already; six standard deviations more or less.
    bits = np.count_nonzero(carries)
    assert bits <= 8 * len(mark.to_bytes())
    assert np.count_nonzero(change) <= bits / 2 + 3 * np.sqrt(bits)


@settings(deadline=None, max_examples=25)
@given(
    motion=st.binary(max_size=60),
    enhancement=st.binary(min_size=1, max_size=100),
    code=st.sampled_from(PayloadCode),
    first_sample=st.integers(0, 40 * 50 * 3 - 1),
    seed=st.integers(0, 99),
)
def test_round_trip_with_motion_and_enhancement_layer(
    motion: bytes, enhancement: bytes, code: PayloadCode, first_sample: int, seed: int
) -> None:
    mark = dataclasses.replace(
        MARK, motion=motion, enhancement=enhancement, code=code, first_sample=first_sample
    )
    pixels = random_pixels(40, 50, seed=seed)
    marked = write_mark(pixels, mark)
    assert read_mark(marked) == mark
    constraints = constrain_samples(pixels.shape, mark)
    change = np.abs(marked.astype(int) - pixels).reshape(-1)
    assert change.any() and not change[constraints.low_bits == 0].any()
    if not code.trellis_bits:
        assert change.max() <= (1 << code) - 1
        low = marked.reshape(-1) & (1 << constraints.low_bits) - 1
        assert np.array_equal(low, constraints.residues)


@settings(deadline=None, max_examples=40)
@given(
    height=larger_sides,
    width=larger_sides,
    grey=st.booleans(),
    share=st.floats(0, 1),
    code=st.sampled_from(PayloadCode),
    first_sample=st.integers(0, 30 * 30 - 1),
    seed=st.integers(0, 99),
)
def test_a_payload_stays_out_of_the_static_region(
    height: int,
    width: int,
    grey: bool,
    share: float,
    code: PayloadCode,
    first_sample: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    pixels = random_pixels(height, width, grey, seed)
    region = random_static_region(height, width, seed, share)
    motion = rng.bytes(7)
    region_bytes = region.to_bytes()
    room = payload_capacity(pixels.shape, region_bytes, code=code) - len(motion)
    assume(room >= 0)
    full = dataclasses.replace(
        MARK,
        static_region_bytes=region_bytes,
        motion=motion,
        enhancement=rng.bytes(room),
        code=code,
        first_sample=first_sample,
    )
    marked = write_mark(pixels, full)
    assert read_mark(marked) == full
    header = full.parts_header
    assert header is not None
    # Only headers and map lie inside. Outside nearly all samples carry the payload; with a trellis
    # code, those of all pixels none of whose samples carries headers or map.
    low_bits = constrain_samples(pixels.shape, full).low_bits.reshape(pixels.shape)
    inside = region.mask(height, width)
    assert np.count_nonzero(low_bits[inside]) <= 8 * header.payload_start
    outside = low_bits[~inside].reshape(-1, 1 if grey else 3)
    if code.trellis_bits:
        outside = outside[((outside == 0) | (outside == TRELLIS_CODED)).all(axis=1)]
    assert np.count_nonzero(outside) > 0.95 * outside.size - 24
    assert not (marked != pixels)[low_bits == 0].any()
    with pytest.raises(ValueError, match="too much"):
        write_mark(pixels, dataclasses.replace(full, enhancement=rng.bytes(room + 2)))


@settings(deadline=None)
@given(
    code=st.sampled_from(PayloadCode),
    first_sample=st.integers(0, 50 * 60 * 3 - 1),
    bounds=st.tuples(st.integers(0, 9000), st.integers(0, 9000)),
    seed=st.integers(0, 99),
)
def test_constraints_of_some_samples(
    code: PayloadCode, first_sample: int, bounds: tuple[int, int], seed: int
) -> None:
    region_bytes = random_static_region(50, 60, seed).to_bytes()
    enhancement = np.random.default_rng(seed).bytes(30)
    mark = dataclasses.replace(
        MARK,
        static_region_bytes=region_bytes,
        enhancement=enhancement,
        code=code,
        first_sample=first_sample,
    )
    samples = slice(min(bounds), max(bounds))
    whole = constrain_samples((50, 60, 3), mark)
    part = constrain_samples((50, 60, 3), mark, samples)
    assert np.array_equal(whole.low_bits[samples], part.low_bits)
    assert np.array_equal(whole.residues[samples], part.residues)
    assert whole.code is part.code is code.trellis_code


@settings(deadline=None, max_examples=15)
@given(code=st.sampled_from(PayloadCode), grey=st.booleans(), seed=st.integers(0, 99))
def test_an_unrounded_embedding_is_diffused(code: PayloadCode, grey: bool, seed: int) -> None:
    channels = 1 if grey else 3
    unrounded = random_unrounded(30, 40, channels, seed)
    noise_shaping = random_filter(channels, seed)
    mark = dataclasses.replace(MARK, enhancement=bytes(20), code=code)
    marked = write_mark(unrounded, mark, noise_shaping)
    assert marked.shape == (30, 40, channels)
    assert read_mark(marked) == mark
    constraints = constrain_samples(marked.shape, mark)
    assert np.array_equal(marked, round_embedding(unrounded, noise_shaping, constraints))


def test_changed_pixels_lose_the_mark() -> None:
    marked = write_mark(random_pixels(64, 64), MARK)
    assert read_mark(marked[:-1]) is None
    assert read_mark(marked ^ np.uint8(1)) is None
    moving = dataclasses.replace(MARK, motion=bytes(range(100)))
    marked = write_mark(random_pixels(64, 64), moving)
    broken = marked.copy()
    broken.reshape(-1)[:40] ^= 1
    assert read_mark(broken) is None
    assert read_mark(marked) == moving


@pytest.mark.parametrize("value", [0, 255])
def test_flat_pictures_and_views(value: int) -> None:
    pixels = np.full((60, 40, 3), value, np.uint8)[::2, ::-1]
    marked = write_mark(pixels, MARK)
    assert read_mark(marked) == MARK
    assert read_mark(marked[::-1][::-1]) == MARK


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (1080, 1920), (768, 512)])
def test_a_mark_is_spread_over_rows_and_columns(height: int, width: int, grey: bool) -> None:
    black = np.zeros((height, width) if grey else (height, width, 3), np.uint8)
    # A bit changes either a black picture or one of ones.
    changed = (write_mark(black, MARK) != 0) | (write_mark(black + 1, MARK) != 1)
    assert np.count_nonzero(changed) == HEADER_STRETCHES
    rows, columns = np.nonzero(changed)[:2]
    assert len(np.unique(columns)) > len(columns) * 2 // 3
    assert len(np.unique(rows)) > len(rows) * 2 // 3


def test_a_mark_costs_less_than_a_hundredth_of_a_decibel() -> None:
    original = smooth_pixels(160, 160).astype(float)
    noise = np.random.default_rng(0).normal(0, 256 / 100, original.shape)
    embedding = np.clip(original + noise, 0, 255).round().astype(np.uint8)

    def psnr(pixels: Pixels) -> float:
        return float(10 * np.log10(255**2 / np.mean((pixels - original) ** 2)))

    assert 38 < psnr(embedding) < 42
    assert abs(psnr(embedding) - psnr(write_mark(embedding, MARK))) < 0.01


def test_no_mark_where_none_was_written() -> None:
    for seed in range(200):
        assert read_mark(random_pixels(20, 20, seed=seed)) is None
    assert read_mark(np.zeros((20, 20), np.uint8)) is None
    assert read_mark(np.full((20, 20, 3), 255, np.uint8)) is None


def test_pictures_that_are_too_small() -> None:
    tiny = np.zeros((9, 10), np.uint8)
    with pytest.raises(ValueError, match="96"):
        write_mark(tiny, MARK)
    assert read_mark(tiny) is None
    assert payload_capacity(tiny.shape) == 0
    with pytest.raises(ValueError, match="too much"):
        write_mark(random_pixels(30, 30), dataclasses.replace(MARK, motion=bytes(600)))
    region = dataclasses.replace(
        MARK, static_region_bytes=random_static_region(8, 96, 0).to_bytes()
    )
    with pytest.raises(ValueError, match="needs"):
        write_mark(np.zeros((1, 96), np.uint8), region)


def test_a_static_region_belongs_to_one_size() -> None:
    region = random_static_region(64, 64, 0)
    mark = dataclasses.replace(MARK, static_region_bytes=region.to_bytes())
    with pytest.raises(ValueError, match="static region"):
        write_mark(random_pixels(64, 73), mark)


def test_capacity_counts_carriers() -> None:
    samples = 64 * 80 * 3
    headers = 8 * (12 + 2 * 3 + 5 + 2)
    assert payload_capacity((64, 80, 3)) == (samples - headers) // 8 - 8
    double = payload_capacity((64, 80, 3), code=PayloadCode.LSB_2)
    assert double == (samples - headers) // 4 - 8
    third = payload_capacity((64, 80, 3), carriers_per_symbol=3)
    assert third == (samples - headers) // 3 // 8 - 8
