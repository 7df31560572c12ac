"""Syndrome-trellis codes, without a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.quantize.trellis_codes import (
    TRELLIS_CODES,
    TrellisCode,
    extract_message,
)
from tests.random_arrays import random_pixels


@pytest.mark.parametrize("bits", TRELLIS_CODES)
def test_codes_are_named_by_their_bits(bits: int) -> None:
    code = TRELLIS_CODES[bits]
    assert sum(code.message_bits(3)) == bits
    assert code.message_bits(1) == code.message_bits(3)[-1:] and code.message_bits(1)[0] >= 1


@pytest.mark.parametrize("bits", TRELLIS_CODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("message_bit", [0, 1])
def test_sections_follow_the_register(bits: int, channels: int, message_bit: int) -> None:
    code = TRELLIS_CODES[bits]
    states = code.states
    sections = code.sections(channels, message_bit)
    assert len(sections) == channels
    for sample, section in zip(code.samples[-channels:], sections, strict=True):
        assert section.sources.max() < states
        for after in range(section.sources.shape[1]):
            for before, low in zip(section.sources[:, after], section.lows[:, after], strict=True):
                register = int(before) ^ sample.syndrome(int(low))
                if sample.message_bits:
                    assert register & 1 == message_bit
                    register >>= 1
                assert register == after
        states = section.sources.shape[1]
    assert states == code.states


def extract_bit_by_bit(code: TrellisCode, pixels: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """The message as docs/format.md says, with a register."""
    message = np.zeros_like(pixels)
    samples = code.samples[-pixels.shape[2] :]
    for y in range(len(pixels)):
        register = 0
        for x in np.flatnonzero(coded[y]):
            for c, sample in enumerate(samples):
                low = int(pixels[y, x, c]) % (1 << sample.low_bits)
                register ^= sample.syndrome(low)
                if sample.message_bits:
                    message[y, x, c] = (low & sample.plain_bits) << 1 | register & 1
                    register >>= 1
    return message


@settings(deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    bits=st.sampled_from(list(TRELLIS_CODES)),
    share=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_the_message_is_what_falls_out_of_the_register(
    height: int, width: int, channels: int, bits: int, share: float, seed: int
) -> None:
    pixels = random_pixels(height, width, seed=seed)[..., :channels]
    coded = np.random.default_rng(seed).random((height, width)) < share
    code = TRELLIS_CODES[bits]
    expected = extract_bit_by_bit(code, pixels, coded)
    assert np.array_equal(extract_message(code, pixels, coded), expected)


def test_rows_are_independent_and_uncoded_pixels_do_not_count() -> None:
    code = TRELLIS_CODES[5]
    pixels = random_pixels(6, 20)
    coded = np.random.default_rng(0).random((6, 20)) < 0.5
    message = extract_message(code, pixels, coded)
    others = np.where(coded[..., None], pixels, random_pixels(6, 20, seed=1))
    assert np.array_equal(extract_message(code, others, coded), message)
    assert np.array_equal(extract_message(code, pixels[2:3], coded[2:3]), message[2:3])
