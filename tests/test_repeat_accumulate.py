"""Repeat-accumulate codes."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof.pseudorandom import random_bits
from iicnet_cli.engines.jpegproof.repeat_accumulate import Floats, RepeatAccumulateCode


def received(word: np.ndarray, error_rate: float, erased: float) -> Floats:
    """Soft decisions after a channel that flips and erases bits."""
    rng = np.random.default_rng(0)
    sure = np.log((1 - error_rate) / error_rate)
    signs = (1 - 2.0 * word) * np.where(rng.random(len(word)) < error_rate, -1, 1)
    return (signs * sure * (rng.random(len(word)) >= erased)).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "error_rate", "erased"),
    [(0.97, 0.0005, 0.0), (0.8, 0.02, 0.0), (0.6, 0.01, 0.25), (0.35, 0.05, 0.3), (0.1, 0.2, 0.4)],
)
def test_what_a_code_corrects(rate: float, error_rate: float, erased: float) -> None:
    message = random_bits(int(20_000 * rate), 1)
    code = RepeatAccumulateCode(len(message), 20_000)
    word = code.encode(message)
    assert len(word) == 20_000
    found, holds = code.decode(received(word, error_rate, erased))
    assert holds
    assert np.array_equal(found, word)
    assert np.array_equal(found[: len(message)], message)


def test_too_many_errors_are_noticed() -> None:
    code = RepeatAccumulateCode(8000, 10_000)
    word = code.encode(random_bits(8000, 1))
    assert not code.decode(received(word, 0.1, 0.0))[1]


@pytest.mark.parametrize("message_bits", [1, 2, 7, 99])
def test_short_codes(message_bits: int) -> None:
    message = random_bits(message_bits, 2)
    code = RepeatAccumulateCode(message_bits, 100)
    word = code.encode(message)
    found, holds = code.decode(received(word, 0.001, 0.0))
    assert holds
    assert np.array_equal(found, word)


def test_codes_stay_what_they_are() -> None:
    words = [
        RepeatAccumulateCode(size, 20_000).encode(random_bits(size, 1)).tobytes()
        for size in (3000, 12_000, 17_000)
    ]
    assert [zlib.crc32(word) for word in words] == [2376030250, 2824646253, 1269273771]


@pytest.mark.parametrize("message_bits", [0, 100, 101])
def test_impossible_codes(message_bits: int) -> None:
    with pytest.raises(ValueError, match="in 100 bits"):
        RepeatAccumulateCode(message_bits, 100)
