"""payload/lowbits_payload.py: which samples carry which bits of a payload."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.payload.lowbits_payload import (
    STRETCH,
    capacity_bits,
    read_payload,
    whiten,
    write_payload,
)
from iicnet_cli.pictures.arrays import Pixels


def picture(size: int) -> tuple[Pixels, Pixels]:
    """Samples and their bases; half of them carry nothing."""
    rng = np.random.default_rng(size)
    bases = rng.choice(np.array([0, 0, 0, 1, 3, 8], np.uint8), size)
    return rng.integers(0, 256, size, dtype=np.uint8), bases


def test_capacity() -> None:
    bases = np.array([0] * 5 + [1] * 10 + [2] * 4 + [3] * 12, np.uint8)
    assert capacity_bits(bases) == 26 + 4 + 19
    assert capacity_bits(np.zeros(9, np.uint8)) == 0


@pytest.mark.parametrize("size", [5000, STRETCH + 3000])
def test_payload_comes_back_and_others_stay(size: int) -> None:
    samples, bases = picture(size)
    data = np.random.default_rng(0).bytes(capacity_bits(bases) // 8)
    written = write_payload(samples, bases, data)
    assert read_payload(written, bases, len(data)) == data
    assert read_payload(written, bases, 100) == data[:100]
    assert np.array_equal(written[bases == 0], samples[bases == 0])
    assert read_payload(written, bases, len(data) + 1) is None


def test_nothing_is_carried_by_no_carriers() -> None:
    samples, bases = picture(100)
    assert read_payload(samples, np.zeros_like(bases), 0) == b""
    assert read_payload(samples, np.zeros_like(bases), 1) is None


def test_whitening() -> None:
    assert whiten(bytes(8)).hex() == WHITE
    data = np.random.default_rng(0).bytes(1001)
    assert whiten(whiten(data)) == data
    assert abs(np.unpackbits(np.frombuffer(whiten(bytes(10000)), np.uint8)).mean() - 0.5) < 0.01


def fmix32(word: int) -> int:
    """The finalizer of MurmurHash3."""
    word ^= word >> 16
    word = word * 0x85EBCA6B % 2**32
    word ^= word >> 13
    word = word * 0xC2B2AE35 % 2**32
    return word ^ word >> 16


WHITE = (fmix32(1) << 32 | fmix32(2)).to_bytes(8, "big").hex()
