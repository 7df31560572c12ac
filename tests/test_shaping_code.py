"""Trellis shaping."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.shaping_code import extract, shape


@pytest.mark.parametrize("width", [2, 5, 7, 15])
def test_the_message_comes_back(width: int) -> None:
    message = random_bits(300 * (width - 1), 1).reshape(300, width - 1)
    costs = np.random.default_rng(0).normal(size=(300, width)).astype(np.float32)
    assert np.array_equal(extract(shape(message, costs, width), width), message)


def test_no_free_bits_are_cheaper() -> None:
    message = random_bits(8 * 2, 1).reshape(8, 2)
    costs = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    offset = extract(np.zeros((8, 3), np.uint8), 3)
    assert not offset.any()
    cheapest = np.inf
    for free in itertools.product((0, 1), repeat=8):
        bits = np.column_stack([np.array(free, np.uint8), message])
        bits[:, 1:] ^= extract(np.column_stack([np.array(free), 0 * message]).astype(np.uint8), 3)
        assert np.array_equal(extract(bits, 3), message)
        cheapest = min(cheapest, float((bits * costs).sum()))
    assert (shape(message, costs, 3) * costs).sum() == pytest.approx(cheapest, abs=1e-5)


def test_what_is_gained() -> None:
    """Uniform quantization at this rate would cost 1.28 dB less than without free bits."""
    rng = np.random.default_rng(0)
    places = rng.random((2000, 7)) * 2
    zero = np.minimum(places, 2 - places)
    costs = ((1 - zero) ** 2 - zero**2).astype(np.float32)
    bits = shape(rng.integers(0, 2, (2000, 6)).astype(np.uint8), costs, 7)
    squared = np.where(bits == 1, (1 - zero) ** 2, zero**2).mean()
    assert 10 * np.log10(1 / 3 / squared) > 6.02 / 7 + 0.9


def test_the_code_stays_what_it_is() -> None:
    bits = random_bits(700, 3).reshape(100, 7)
    assert zlib.crc32(extract(bits, 7).tobytes()) == 2562071650


def test_nothing() -> None:
    assert shape(np.empty((0, 6), np.uint8), np.empty((0, 7), np.float32), 7).shape == (0, 7)
