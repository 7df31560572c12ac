"""The mark in its strong code."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest

from iicnet_cli.engines.jpegproof.robust_mark import MARK_LENGTH, RobustMark

MARK = RobustMark(3, 64, 96, 12_345, (47, 5), 7)


def soft(bits: np.ndarray, noise: float) -> np.ndarray:
    added = np.random.default_rng(1).normal(0, noise, len(bits))
    return (1 - 2.0 * bits + added).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.8])
def test_a_noisy_mark_is_read(noise: float) -> None:
    bits = MARK.encode()
    assert len(bits) == MARK_LENGTH
    assert RobustMark.decode(soft(bits, noise)) == MARK


def test_bounds_of_the_fields() -> None:
    largest = RobustMark(7, 4095, 4095, 2**24 - 1, (63, 63), 15, has_small_version=True)
    assert RobustMark.decode(soft(largest.encode(), 0)) == largest
    first = RobustMark(15, 4095, 4095, 2**24 - 1, (63, 63), 15, version=1)
    assert RobustMark.decode(soft(first.encode(), 0)) == first
    for change in ({"rows": 4096}, {"payload_bytes": 2**24}, {"lattice": 8}, {"lattice": -1}):
        with pytest.raises(ValueError, match="does not fit the mark"):
            dataclasses.replace(MARK, **change).encode()


def test_noise_is_no_mark() -> None:
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=MARK_LENGTH).astype(np.float32)
        assert RobustMark.decode(noise) is None
    assert RobustMark.decode(np.zeros(MARK_LENGTH, np.float32)) is None


def test_an_impossible_shaping_code_is_refused() -> None:
    mark = dataclasses.replace(MARK, group_bits=1)
    assert RobustMark.decode(soft(mark.encode(), 0)) is None


def test_the_mark_stays_what_it_is() -> None:
    first = dataclasses.replace(MARK, version=1)
    assert zlib.crc32(first.encode().tobytes()) == 1685150343
    assert RobustMark.decode(soft(first.encode(), 0)) == first


def test_the_second_version_tells_of_a_small_version() -> None:
    mark = dataclasses.replace(MARK, has_small_version=True)
    assert RobustMark.decode(soft(mark.encode(), 0)) == mark
    assert mark.encode().tolist() != MARK.encode().tolist()


def test_a_mark_of_an_unknown_version_is_refused() -> None:
    newer = dataclasses.replace(MARK, version=3)
    assert RobustMark.decode(soft(newer.encode(), 0)) is None
