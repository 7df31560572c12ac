"""Syndrome-trellis codes, without a search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.quantize.trellis_codes import (
    TRELLIS_CODES,
    coset_representative,
    extract_message,
)
from tests.random_arrays import coded_pixels, random_pixels, random_trellis_constraints


@pytest.mark.parametrize("bits", TRELLIS_CODES)
def test_codes_are_named_by_their_bits(bits: int) -> None:
    code = TRELLIS_CODES[bits]
    assert sum(code.message_bits(3)) == bits
    assert code.message_bits(1) == code.message_bits(3)[-1:] and code.message_bits(1)[0] >= 1


@pytest.mark.parametrize("bits", TRELLIS_CODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_sections_follow_the_register(bits: int, channels: int) -> None:
    code = TRELLIS_CODES[bits]
    states = code.states
    sections = code.sections(channels)
    assert len(sections) == channels
    for sample, section in zip(code.samples[-channels:], sections, strict=True):
        assert section.sources.max() < states
        for after in range(section.sources.shape[1]):
            for before, low in zip(section.sources[:, after], section.lows[:, after], strict=True):
                register = int(before) ^ sample.syndrome(int(low))
                if sample.message_bits:
                    assert register & 1 == 0  # the message is zero
                    register >>= 1
                assert register == after
        states = section.sources.shape[1]
    assert states == code.states


@settings(deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    bits=st.sampled_from(list(TRELLIS_CODES)),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 999),
)
def test_a_coset_representative_carries_the_message(
    height: int, width: int, channels: int, bits: int, share: float, seed: int
) -> None:
    constraints = random_trellis_constraints((height, width, channels), bits, share, seed)
    coded = coded_pixels(constraints)
    code = TRELLIS_CODES[bits]
    lows = coset_representative(code, constraints.residues, coded)
    message = extract_message(code, lows, coded)
    assert np.array_equal(message[coded], constraints.residues[coded])
    assert not message[~coded].any()


def test_rows_are_independent_and_uncoded_pixels_do_not_count() -> None:
    code = TRELLIS_CODES[5]
    pixels = random_pixels(6, 20)
    coded = np.random.default_rng(0).random((6, 20)) < 0.5
    message = extract_message(code, pixels, coded)
    others = np.where(coded[..., None], pixels, random_pixels(6, 20, seed=1))
    assert np.array_equal(extract_message(code, others, coded), message)
    assert np.array_equal(extract_message(code, pixels[2:3], coded[2:3]), message[2:3])
